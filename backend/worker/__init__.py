"""The process that runs jobs. The API never imports it."""

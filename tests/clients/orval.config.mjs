export default {
  api: {
    input: "./openapi.json",
    output: {
      target: "./generated/api.ts",
      client: "fetch",
      mode: "single",
      baseUrl: process.env.API_URL,
    },
  },
};

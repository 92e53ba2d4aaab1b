import react from "@vitejs/plugin-react";
import { defaultClientConditions, defineConfig, loadEnv } from "vite";

// The API is reached through this server, so that pages and API have one origin: cookies need no
// CORS. Without `changeOrigin` the API learns the address of the page, and knows the origin as its own.
const target = loadEnv("", ".", "API_URL")["API_URL"] ?? "http://127.0.0.1:8000";
const options = { target, changeOrigin: false };
const proxy = { "/api": options, "/files": options, "/dev/mailbox": options };

export default defineConfig({
  plugins: [react()],
  // The client is compiled from its source.
  resolve: { conditions: ["source", ...defaultClientConditions] },
  // FRONTEND_URL of the API: mails link to this address.
  server: { port: 3000, strictPort: true, proxy },
  preview: { port: 3000, strictPort: true, proxy },
});

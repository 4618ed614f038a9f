import { defineConfig } from "@playwright/test";

export default defineConfig({
  use: { baseURL: "http://127.0.0.1:3000", launchOptions: { executablePath: process.env.CHROMIUM } },
  webServer: [
    { command: "kling-mock serve --port 4010 --clock x600", url: "http://127.0.0.1:4010/__mock/ready", reuseExistingServer: true },
    { command: "node app.mjs", url: "http://127.0.0.1:3000", env: { EVOLINK_BASE_URL: "http://127.0.0.1:4010", EVOLINK_API_KEY: "sk-e2e" } },
  ],
});

"use strict";
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();
addEventListener("DOMContentLoaded", () => {
  SwaggerUIBundle({
    url: "/__mock/docs/openapi.json",
    dom_id: "#contract",
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    persistAuthorization: true,
    validatorUrl: null,
    showExtensions: false,
  });
});

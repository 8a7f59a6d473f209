SwaggerUIBundle({
  url: document.querySelector("main").dataset.description,
  domNode: document.querySelector("main"),
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  validatorUrl: null,
});

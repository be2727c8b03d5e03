// Shows openapi.json with Swagger UI. Its script is a file, since the pages allow no inline scripts.

const spec = await (await fetch("openapi.json")).json();
// A web server in front may serve the application under a path, which the document cannot know.
spec.servers = [{ url: new URL(".", document.baseURI).href.replace(/\/$/, "") }];

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const applyScheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches); // a class of Swagger UI
dark.addEventListener("change", applyScheme);
applyScheme();

window.SwaggerUIBundle({
  spec,
  dom_id: "#routes",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null, // the default sends the document to another host
});

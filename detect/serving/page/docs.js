// Shows openapi.json, with a curl command for each route.

function element(tag, text = "") {
  const created = document.createElement(tag);
  created.textContent = text;
  return created;
}

// A copy of `tag` with text, in which the parts between backticks are code.
function formatted(tag, text) {
  const created = element(tag);
  created.append(...text.split("`").map((part, i) => (i % 2 ? element("code", part) : part)));
  return created;
}

const SUFFIXES = { "video/mp4": ".mp4", "application/jsonl": ".jsonl" }; // responses that curl saves as a file

function curlCommand(method, path, route) {
  const url = new URL(path.slice(1).replace("{id}", "ID"), document.baseURI);
  const words = ["curl", ...(method === "get" ? [] : ["-X", method.toUpperCase()])];
  for (const field of Object.keys(route.requestBody?.content["multipart/form-data"].schema.properties ?? {})) {
    words.push("-F", `${field}=@party.${field === "video" ? "mp4" : "jpg"}`);
  }
  const query = (route.parameters ?? []).filter(({ name }) => name === "threshold").map(({ name }) => `${name}=0.7`);
  const fileType = Object.keys(route.responses["200"]?.content ?? {}).find((type) => type in SUFFIXES);
  if (fileType) words.push("-o", `detections${SUFFIXES[fileType]}`);
  return [...words, `'${url}${query.length ? `?${query.join("&")}` : ""}'`].join(" ");
}

let openapi = {};
const resolve = (reference) => reference.slice(2).split("/").reduce((node, key) => node[key], openapi);
const choices = (schema) => (schema.$ref ? resolve(schema.$ref) : schema).enum?.join(", ");

function typeOf({ schema }) {
  const options = schema.$ref ? [schema] : (schema.anyOf ?? [schema]);
  const types = options.filter(({ type }) => type !== "null").map((one) => choices(one) ?? one.items?.type ?? one.type);
  const fallback = schema.default === undefined ? "" : `, default: ${JSON.stringify(schema.default)}`;
  return `${types.join(" or ")}${fallback}`;
}

function parameterTable(parameters) {
  const table = element("table");
  table.className = "text";
  for (const parameter of parameters) {
    const row = element("tr");
    row.append(element("td", parameter.name), element("td", typeOf(parameter)));
    row.append(formatted("td", parameter.description ?? ""));
    table.append(row);
  }
  return table;
}

function routeSection(method, path, route) {
  const section = element("section");
  section.append(element("h2", `${method.toUpperCase()} ${path}`));
  section.append(...route.description.split("\n\n").map((text) => formatted("p", text)));
  section.append(element("pre", curlCommand(method, path, route)));
  if (route.parameters?.length) section.append(parameterTable(route.parameters));
  const responses = Object.entries(route.responses);
  for (const [status, response] of responses.filter(([status]) => status < 400)) {
    const types = Object.keys(response.content ?? {}).join(", ");
    const text = response.description.replace("Successful Response", "OK"); // the default text of the framework
    section.append(formatted("p", `${status}: ${text}${types ? ` (${types})` : ""}`));
    const json = response.content?.["application/json"];
    const example = json?.example ?? (json?.schema.$ref && resolve(json.schema.$ref).example);
    if (example) section.append(element("pre", JSON.stringify(example, null, 1)));
  }
  const errors = responses.filter(([status]) => status >= 400).map(([status, one]) => `${status} ${one.description}`);
  if (errors.length) section.append(element("p", `Errors: ${errors.join(", ")}`));
  return section;
}

openapi = await (await fetch("openapi.json")).json();
for (const [path, routes] of Object.entries(openapi.paths)) {
  for (const [method, route] of Object.entries(routes)) {
    document.getElementById("routes").append(routeSection(method, path, route));
  }
}

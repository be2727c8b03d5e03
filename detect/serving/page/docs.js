// Shows openapi.json, with a line of curl for each route that can be typed as it is.

function element(tag, text = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

// A paragraph; what stands between backticks is code.
function paragraph(text) {
  const made = element("p");
  made.append(...text.split("`").map((part, i) => (i % 2 ? element("code", part) : part)));
  return made;
}

const SUFFIXES = { "video/mp4": ".mp4", "application/jsonl": ".jsonl" }; // of answers that are files

function curl(method, path, route) {
  const url = new URL(path.slice(1).replace("{id}", "ID"), document.baseURI);
  const words = ["curl", ...(method === "get" ? [] : ["-X", method.toUpperCase()])];
  for (const field of Object.keys(route.requestBody?.content["multipart/form-data"].schema.properties ?? {})) {
    words.push("-F", `${field}=@party.${field === "video" ? "mp4" : "jpg"}`);
  }
  const example = (route.parameters ?? []).filter(({ name }) => name === "threshold").map(({ name }) => `${name}=0.7`);
  const kept = Object.keys(route.responses["200"]?.content ?? {}).find((kind) => kind in SUFFIXES);
  if (kept) words.push("-o", `found${SUFFIXES[kept]}`);
  return [...words, `'${url}${example.length ? `?${example.join("&")}` : ""}'`].join(" ");
}

function kindOf({ schema }) {
  const named = schema.$ref ? [schema] : (schema.anyOf ?? [schema]);
  const kinds = named.filter(({ type }) => type !== "null").map((one) => choices(one) ?? one.items?.type ?? one.type);
  const fallback = schema.default === undefined ? "" : `, by default ${JSON.stringify(schema.default)}`;
  return `${kinds.join(" or ")}${fallback}`;
}

let description = {};
const choices = (one) => (one.$ref ? resolve(one.$ref) : one).enum?.join(", ");
const resolve = (reference) => reference.slice(2).split("/").reduce((at, key) => at[key], description);

function section(method, path, route) {
  const title = element("h2", `${method.toUpperCase()} ${path}`);
  const parts = [title, ...route.description.split("\n\n").map(paragraph)];
  parts.push(element("pre", curl(method, path, route)));
  if (route.parameters?.length) {
    const rows = route.parameters.map((one) => {
      const row = element("tr");
      row.append(element("td", one.name), element("td", kindOf(one)), element("td", one.description ?? ""));
      return row;
    });
    const table = element("table");
    table.className = "words";
    table.append(...rows);
    parts.push(table);
  }
  const answers = Object.entries(route.responses);
  const problems = answers.filter(([status]) => status >= 400).map(([status, one]) => `${status} ${one.description}`);
  for (const [status, answer] of answers.filter(([status]) => status < 400)) {
    const kinds = Object.keys(answer.content ?? {}).join(", ");
    const words = answer.description.replace("Successful Response", "OK"); // the former is the framework's own
    parts.push(element("p", `${status}: ${words}${kinds ? ` (${kinds})` : ""}`));
    const json = answer.content?.["application/json"];
    const example = json?.example ?? (json?.schema.$ref && resolve(json.schema.$ref).example);
    if (example) parts.push(element("pre", JSON.stringify(example, null, 1)));
  }
  if (problems.length) parts.push(element("p", `Problems: ${problems.join(", ")}`));
  const made = element("section");
  made.append(...parts);
  return made;
}

description = await (await fetch("openapi.json")).json();
for (const [path, routes] of Object.entries(description.paths)) {
  for (const [method, route] of Object.entries(routes)) {
    document.getElementById("routes").append(section(method, path, route));
  }
}

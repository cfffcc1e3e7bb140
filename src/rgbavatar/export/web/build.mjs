// Builds dist/page.html, the page without an avatar: src/page.html with the bundled, minified script and style inside.
// The same sources give the same bytes. The page's own policy lets it run this script and this style, and load nothing.

import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const TARGETS = ["chrome100", "firefox119", "safari16.4"]; // with all that we use: DecompressionStream, ARIA as properties

async function bundle(entry) {
  const result = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: TARGETS,
    charset: "utf8",
    legalComments: "inline",
    loader: { ".vert": "text", ".frag": "text", ".glsl": "text" },
  });
  const text = result.outputFiles[0].text.trim();
  if (/<\/(script|style)/i.test(text)) throw new Error(`${entry}: an end tag inside would end the element around it`);
  return text;
}

function policy(script, style) {
  const hash = (text) => `'sha256-${createHash("sha256").update(text, "utf8").digest("base64")}'`;
  return `default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}; img-src data:`;
}

function fill(page, name, content) {
  const mark = `{{${name}}}`;
  if (page.split(mark).length !== 2) throw new Error(`src/page.html: expected ${mark} once`);
  return page.replace(mark, () => content);
}

const [script, style] = [await bundle("src/main.ts"), await bundle("src/page.css")];
let page = await readFile("src/page.html", "utf8");
page = fill(page, "policy", policy(script, style));
page = fill(page, "style", style);
page = fill(page, "script", script);
await mkdir("dist", { recursive: true });
await writeFile("dist/page.html", page);

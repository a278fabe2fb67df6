// Serves this folder on 127.0.0.1 with the headers in server.json: threads need two of them. `npm start`, PORT=8000 by default.
// Wherever you put the page later, send the same headers.

import { createReadStream } from "node:fs";
import { readFile, realpath, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join, sep } from "node:path";
import { pipeline } from "node:stream";
import { fileURLToPath } from "node:url";

const root = await realpath(dirname(fileURLToPath(import.meta.url)));
const { headers, types } = JSON.parse(await readFile(join(root, "server.json"), "utf8"));
const port = Number(process.env.PORT ?? 8000);
if (!Number.isInteger(port) || port < 0 || port > 65535) {
  console.error(`PORT=${process.env.PORT}: expected 0 (any that is free) to 65535`);
  process.exit(2);
}

/** Return a file of this folder for a request's path, or nothing: links and ".." lead nowhere outside, and nothing is listed. */
async function find(url) {
  try {
    const path = decodeURIComponent(new URL(url, "http://127.0.0.1").pathname);
    const file = await realpath(join(root, path.endsWith("/") ? `${path}index.html` : path));
    const status = await stat(file);
    return file.startsWith(root + sep) && status.isFile() ? { file, size: status.size } : undefined;
  } catch {
    return undefined;
  }
}

/** Say whether a request is for this machine by a name of its own; another site's page may not ask by its name. */
function isForUs({ headers: { host = "" } }) {
  return ["127.0.0.1", "localhost"].includes(host.split(":")[0]);
}

const server = createServer(async (request, response) => {
  const found = ["GET", "HEAD"].includes(request.method) && isForUs(request) ? await find(request.url) : undefined;
  if (!found) {
    response.writeHead(404, { ...headers, "Content-Type": "text/plain" }).end("not found\n");
    return;
  }
  const type = types[extname(found.file)] ?? "application/octet-stream";
  response.writeHead(200, { ...headers, "Content-Type": type, "Content-Length": found.size });
  if (request.method === "HEAD") response.end();
  else pipeline(createReadStream(found.file), response, () => {}); // closes the file, too, when a browser goes away
});

server.on("error", (error) => {
  console.error(`port ${port} cannot be used (${error.code}); try PORT=${port + 1} npm start`);
  process.exit(2);
});
server.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/ (Ctrl-C ends it)`));

// Serves this folder on 127.0.0.1 with the headers in server.json: threads need two of them. `npm start`, PORT=8000 by default.
// Wherever you put the page later, send the same headers.

import { createReadStream } from "node:fs";
import { readFile, realpath, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = await realpath(dirname(fileURLToPath(import.meta.url)));
const { headers, types } = JSON.parse(await readFile(join(root, "server.json"), "utf8"));
const port = Number(process.env.PORT ?? 8000);

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

const server = createServer(async (request, response) => {
  const found = ["GET", "HEAD"].includes(request.method) ? await find(request.url) : undefined;
  if (!found) {
    response.writeHead(404, { ...headers, "Content-Type": "text/plain" }).end("not found\n");
    return;
  }
  const type = types[extname(found.file)] ?? "application/octet-stream";
  response.writeHead(200, { ...headers, "Content-Type": type, "Content-Length": found.size });
  if (request.method === "HEAD") response.end();
  else createReadStream(found.file).pipe(response);
});

server.on("error", (error) => {
  console.error(`port ${port} cannot be used (${error.code}); try PORT=${port + 1} npm start`);
  process.exit(2);
});
server.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/ (Ctrl-C ends it)`));

// The worker of tests/bench/pages.py in Node.js: its listener is descriptor 3, and it answers with its number.
// Node has had listeners of its own for each worker since 23.1 (`reusePort`); a descriptor every version takes.
'use strict';
const http = require('http');

const page = `${process.pid}\n`;
const server = http.createServer((request, response) => response.end(page));

server.keepAliveTimeout = 0;
server.listen({ fd: 3 });
process.on('SIGTERM', () => server.close(() => process.exit(0)));

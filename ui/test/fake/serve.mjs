// `npm run fake [scenario] [port]`: the generated API by itself, for `npm run dev`.
import { serve } from './server.mjs';

const [name = 'network', port = '8100'] = process.argv.slice(2);
const { url } = await serve({ name, port: Number(port) });
console.log(`generated data (${name}) on ${url}`);

/**
 * Results in this browser (IndexedDB), and nowhere else. Where there is no such store, or it may not
 * be used, they are held in memory until the page is closed.
 */

const NAME = "ark-asr";
const RESULTS = "results";

const memory = new Map();
let opening = null;

function open() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(RESULTS, {keyPath: "id"});
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opening;
}

async function run(mode, act) {
  const database = await open();
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(RESULTS, mode);
    const request = act(transaction.objectStore(RESULTS));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}

/** Private windows of Safari have a store, but not for a Blob: there its bytes are kept. */
async function write(result) {
  try {
    await run("readwrite", (results) => results.put(result));
  } catch (error) {
    if (!result.audio || error?.name === "QuotaExceededError") throw error;
    const packed = {...result, audio: {buffer: await result.audio.arrayBuffer(), type: result.audio.type}};
    await run("readwrite", (results) => results.put(packed));
  }
}

function unpacked(result) {
  if (!result?.audio || result.audio instanceof Blob) return result;
  const {buffer, type} = result.audio;
  return {...result, audio: new Blob([buffer], {type})};
}

/**
 * Keeps a result `{id, title, created, source, audio, job, document}`; one that is in the browser's
 * store already is changed there in any case.
 *
 * Resolves to false if it is only in memory: the store is full, or not wanted.
 */
export async function put(result, keep) {
  memory.set(result.id, result);
  try {
    if (!keep && !await run("readonly", (results) => results.getKey(result.id))) return false;
    await write(result);
    return true;
  } catch {
    return false;
  }
}

export async function get(id) {
  return memory.get(id) ?? await kept(id);
}

/** As it is in the browser's store, where other tabs write too. */
export const kept = (id) => run("readonly", (results) => results.get(id)).then(unpacked, () => undefined);

/** All results, the newest first. */
export async function all() {
  const stored = await run("readonly", (results) => results.getAll()).catch(() => []);
  const byId = new Map([...stored.map(unpacked), ...memory.values()].map((result) => [result.id, result]));
  return [...byId.values()].sort((one, other) => other.created - one.created);
}

export async function remove(id) {
  memory.delete(id);
  await run("readwrite", (results) => results.delete(id)).catch(() => {});
}

export async function clear() {
  memory.clear();
  await run("readwrite", (results) => results.clear()).catch(() => {});
}

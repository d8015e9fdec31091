// Writes each result of node:test as a line of JSON, which node_test.go reads. What checks print goes along as it is.

// The parts of a check are told by the check, and a file by its checks, unless it could not run.
function told(data, type) {
  if (data.nesting > 0) return false;
  return type === 'test:fail' || !data.name.endsWith('.test.js');
}

// named parts the file from the name of a check; a file that could not run has only that.
function named(all) {
  const at = all.indexOf(' ');
  return at < 0 ? { File: all, Name: all } : { File: all.slice(0, at), Name: all.slice(at + 1) };
}

function text(error) {
  if (!error) return '';
  const cause = error.cause ?? error;
  return String(cause.stack ?? cause.message ?? cause);
}

export default async function* reporter(source) {
  for await (const { type, data } of source) {
    if (type === 'test:stdout' || type === 'test:stderr') yield data.message;
    if ((type !== 'test:pass' && type !== 'test:fail') || !told(data, type)) continue;
    yield `${JSON.stringify({
      ...named(data.name),
      OK: type === 'test:pass',
      Took: data.details.duration_ms,
      Skip: data.skip === undefined || data.skip === false ? '' : String(data.skip) || 'skipped',
      Error: text(data.details.error),
    })}\n`;
  }
}

// Objects of Kubernetes against the published schemas of their kinds.
//   objects.mjs validate OBJECTS.json         prints one line for each mistake: types, required keys,
//                                             enums, patterns
//   objects.mjs program OBJECTS.json OUT.ts   writes them as literals of TypeScript, so that its
//                                             compiler finds the keys that no schema knows, which
//                                             the published validators pass over
import fs from 'node:fs';

const packages = { 'monitoring.coreos.com': 'prometheus-operator', 'external-secrets.io': 'external-secrets' };

function packageOf(apiVersion) {
  const group = apiVersion.includes('/') ? apiVersion.split('/')[0] : '';
  if (packages[group]) return `@kubernetes-models/${packages[group]}`;
  return group.endsWith('.fluxcd.io') ? '@kubernetes-models/flux-cd' : 'kubernetes-models';
}

async function mistakeIn(object) {
  try {
    const Kind = (await import(`${packageOf(object.apiVersion)}/${object.apiVersion}`))[object.kind];
    if (!Kind) return `no schema of ${object.apiVersion} ${object.kind} is known`;
    new Kind(object).validate();
  } catch (error) {
    return error.message;
  }
}

function literal(object, at) {
  return `// ${object.kind} ${object.metadata?.name}
import type { I${object.kind} as Kind${at} } from '${packageOf(object.apiVersion)}/${object.apiVersion}';
export const object${at} = (${JSON.stringify(object, null, 1)}) satisfies Kind${at};
`;
}

const [what, input, output] = process.argv.slice(2);
const objects = JSON.parse(fs.readFileSync(input, 'utf8'));
if (what === 'program') {
  fs.writeFileSync(output, objects.map(literal).join('\n'));
} else {
  for (const object of objects) {
    const mistake = await mistakeIn(object);
    if (mistake) console.log(`${object.kind} ${object.metadata?.name}: ${mistake}`);
  }
}

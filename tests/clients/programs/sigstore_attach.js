// @sigstore/oci at work: attach an artifact to an image. Run with NODE_PATH at the clients' packages; answers JSON.
"use strict";
const { attachArtifactToImage, getImageDigest, getRegistryCredentials } = require("@sigstore/oci");

const [imageName, imageTag, mediaType, text] = process.argv.slice(2);

async function main() {
    const credentials = getRegistryCredentials(imageName);
    const imageDigest = await getImageDigest({ imageName, imageTag, credentials });
    const artifact = await attachArtifactToImage({
        imageName,
        imageDigest,
        credentials,
        mediaType,
        artifact: Buffer.from(text),
        annotations: { "dev.example.note": "attached" },
        fetchOpts: { retry: 0, timeout: 10000 },
    });
    console.log(JSON.stringify({ imageDigest, artifact }));
}

main().catch((error) => {
    console.error(error, error.cause);
    process.exit(1);
});

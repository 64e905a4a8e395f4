#!/usr/bin/env bash
# Builds the worker's image for arm64 and pushes it to ECR, with the commit as its tag. The repository keeps a tag for ever, so
# a commit that has its image is neither built nor pushed again. By hand, in the clone:
#   COMMIT=$(git rev-parse HEAD) REPOSITORY_URI=123456789012.dkr.ecr.eu-west-1.amazonaws.com/sluice-worker \
#     examples/pipeline/image.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() {
	echo "image.sh: $*" >&2
	exit 1
}

[[ ${COMMIT:-} =~ ^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}$ ]] ||
	fail "COMMIT is '${COMMIT:-}', which is no tag of an image; set it to the commit that is built (git rev-parse HEAD)"
[[ ${REPOSITORY_URI:-} == ?*/?* ]] ||
	fail "REPOSITORY_URI is '${REPOSITORY_URI:-}'; set it to the repository's URI in ECR, REGISTRY/NAME (an output of the pipeline's stack)"
command -v aws > /dev/null || fail "the AWS CLI is not on the PATH; install it"

registry=${REPOSITORY_URI%%/*} repository=${REPOSITORY_URI#*/} image=$REPOSITORY_URI:$COMMIT

# Of an image that is not there this call tells without an error; describe-images would fail as it does without a permission.
pushed=$(aws ecr batch-get-image --repository-name "$repository" --image-ids "imageTag=$COMMIT" \
	--query 'images[].imageId.imageDigest' --output text) ||
	fail "cannot ask the repository $repository for the tag $COMMIT, see above; it is not built"
if [[ -n $pushed ]]; then
	echo "$image is there already ($pushed): nothing to build"
	exit 0
fi

command -v docker > /dev/null || fail "docker is not on the PATH; install a container engine"
docker info > /dev/null 2>&1 ||
	fail "no container engine answers (docker info); start it, and in CodeBuild set the project's PrivilegedMode"

docker build --platform "${PLATFORM:-linux/arm64}" --file examples/Dockerfile --tag "$image" .
aws ecr get-login-password | docker login --username AWS --password-stdin "$registry"
docker push "$image"
echo "pushed $image"

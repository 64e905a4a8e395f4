#!/usr/bin/env bash
# Gives the stack of the service the image of a commit, and changes nothing else: the stack keeps its template and all its other
# parameters. Its template names no desired count, so CloudFormation leaves out the count of its call to ECS, and the service
# keeps what Sluice has decided. Ends once the deployment has. By hand, in the clone:
#   COMMIT=$(git rev-parse HEAD) REPOSITORY_URI=123456789012.dkr.ecr.eu-west-1.amazonaws.com/sluice-worker \
#     SERVICE_STACK=sluice-example-service examples/pipeline/deploy.sh
set -euo pipefail

fail() {
	echo "deploy.sh: $*" >&2
	exit 1
}

[[ -n ${COMMIT:-} ]] || fail "COMMIT is empty; set it to the commit whose image is deployed (git rev-parse HEAD)"
[[ ${REPOSITORY_URI:-} == ?*/?* ]] ||
	fail "REPOSITORY_URI is '${REPOSITORY_URI:-}'; set it to the repository's URI in ECR, REGISTRY/NAME (an output of the pipeline's stack)"
[[ -n ${SERVICE_STACK:-} ]] || fail "SERVICE_STACK is empty; set it to the name of the service's stack"
command -v aws > /dev/null || fail "the AWS CLI is not on the PATH; install it"

image=$REPOSITORY_URI:$COMMIT
MAX_UNREAD=10

stack() { # stack QUERY: what the stack says of itself, as text
	aws cloudformation describe-stacks --stack-name "$SERVICE_STACK" --query "Stacks[0].$1" --output text
}

names=$(stack 'Parameters[].ParameterKey') ||
	fail "cannot read the stack $SERVICE_STACK, see above. If there is none yet, make it with this image:" \
		"sam deploy -t examples/fleet-ecs.yaml --stack-name $SERVICE_STACK --capabilities CAPABILITY_IAM" \
		"--parameter-overrides Image=$image Repository=${REPOSITORY_URI#*/} VpcId=... SubnetIds=..."
[[ " ${names//[[:space:]]/ } " == *" Image "* ]] ||
	fail "the stack $SERVICE_STACK has no parameter Image; name the stack of a service, of examples/fleet-ecs.yaml"

# After a deployment that was rolled back, the stack has its old image again.
if [[ $(stack "Parameters[?ParameterKey=='Image'] | [0].ParameterValue") == "$image" ]]; then
	echo "$SERVICE_STACK runs $image already: nothing to deploy"
	exit 0
fi

parameters=()
for name in $names; do
	if [[ $name == Image ]]; then
		parameters+=("ParameterKey=Image,ParameterValue=$image")
	else
		parameters+=("ParameterKey=$name,UsePreviousValue=true")
	fi
done
aws cloudformation update-stack --stack-name "$SERVICE_STACK" --use-previous-template --capabilities CAPABILITY_IAM \
	--parameters "${parameters[@]}" --query StackId --output text ||
	fail "CloudFormation refused to update $SERVICE_STACK, see above; it is as it was"

# CloudFormation waits for the old tasks, and they for their messages: longer than the hour of `aws cloudformation wait`.
# A call that AWS throttles does not end hours of waiting; MAX_UNREAD in a row do, and what happens is unknown then.
unread=0
while true; do
	if status=$(stack StackStatus); then
		unread=0
		[[ $status == *_IN_PROGRESS ]] || break
		echo "$SERVICE_STACK: $status"
	elif ((++unread >= MAX_UNREAD)); then
		fail "$SERVICE_STACK could not be read $unread times in a row, see above; its update goes on, and may still succeed"
	fi
	sleep "${POLL_S:-30}"
done
[[ $status == UPDATE_COMPLETE ]] ||
	fail "$SERVICE_STACK is $status and not UPDATE_COMPLETE: $image is not deployed." \
		"The stack's events say why: aws cloudformation describe-stack-events --stack-name $SERVICE_STACK"
echo "$SERVICE_STACK runs $image"

"""An example: a queue, an ECS service on Fargate that runs Sluice's worker, and the workload between them.

    cdk deploy -c vpc_id=vpc-... -c subnet_ids=subnet-...,subnet-... -c repository=worker -c tag=1

The subnets are private ones with a way out to SQS, CloudWatch, ECS and ECR. The repository is one of ECR in
this account. The control plane's stack, `sluice`, is deployed already.
"""

from aws_cdk import App, Duration, Stack, Tags
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from sluice_cdk import Workload

NAME = "report-export"
NAMESPACE = "Sluice"
"""The control plane's MetricNamespace."""


class ReportExport(Stack):
    """Reports that start within three minutes of their arrival, on as many as twenty tasks."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        queue = self._queue()
        cluster = self._cluster()
        service = self._service(queue, cluster)
        Workload(
            self,
            "Workload",
            name=NAME,
            queue_name=queue.queue_name,
            fleet_type="ecs",
            cluster_name=cluster.cluster_name,
            service_name=service.service_name,
            max_capacity=20,
            scaling="deadline",
            acceptable_latency_seconds=180,
            processing_seconds=20,
            boot_seconds=60,
        )

    def _queue(self) -> sqs.Queue:
        failed = sqs.Queue(
            self,
            "Failed",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            visibility_timeout=Duration.seconds(60),
            dead_letter_queue=sqs.DeadLetterQueue(queue=failed, max_receive_count=3),
        )
        Tags.of(queue).add("sluice", "managed")
        return queue

    def _cluster(self) -> ecs.Cluster:
        subnets = self.node.get_context("subnet_ids").split(",")
        vpc = ec2.Vpc.from_vpc_attributes(
            self,
            "Vpc",
            vpc_id=self.node.get_context("vpc_id"),
            availability_zones=[f"zone-{number}" for number in range(len(subnets))],
            private_subnet_ids=subnets,
        )
        return ecs.Cluster(
            self,
            "Cluster",
            vpc=vpc,
            enable_fargate_capacity_providers=True,
            # A workload's dashboard shows its fleet by them.
            container_insights_v2=ecs.ContainerInsights.ENABLED,
        )

    def _service(self, queue: sqs.Queue, cluster: ecs.Cluster) -> ecs.FargateService:
        # No desired_count: a deployment must not reset what Sluice has decided.
        service = ecs.FargateService(
            self,
            "Service",
            service_name=NAME,
            cluster=cluster,
            security_groups=[self._security_group(cluster)],
            task_definition=self._task_definition(queue, cluster),
            capacity_provider_strategies=[
                ecs.CapacityProviderStrategy(capacity_provider="FARGATE_SPOT", weight=1)
            ],
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            min_healthy_percent=100,
            propagate_tags=ecs.PropagatedTagSource.SERVICE,
        )
        Tags.of(service).add("sluice", "managed")
        return service

    def _security_group(self, cluster: ecs.Cluster) -> ec2.SecurityGroup:
        group = ec2.SecurityGroup(
            self, "Workers", vpc=cluster.vpc, description="Workers, no ingress", allow_all_outbound=False
        )
        group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "HTTPS to AWS")
        return group

    def _task_definition(self, queue: sqs.Queue, cluster: ecs.Cluster) -> ecs.FargateTaskDefinition:
        definition = ecs.FargateTaskDefinition(
            self,
            "Task",
            cpu=256,
            memory_limit_mib=512,
            runtime_platform=ecs.RuntimePlatform(cpu_architecture=ecs.CpuArchitecture.ARM64),
        )
        repository = ecr.Repository.from_repository_name(
            self, "Repository", self.node.get_context("repository")
        )
        definition.add_container(
            "worker",
            image=ecs.ContainerImage.from_ecr_repository(repository, self.node.get_context("tag")),
            stop_timeout=Duration.seconds(120),
            # The image itself names the handler.
            environment={
                "AWS_DEFAULT_REGION": self.region,
                "SLUICE_WORKER_QUEUE": queue.queue_url,
                "SLUICE_WORKER_CLUSTER": cluster.cluster_name,
                "SLUICE_WORKER_SERVICE": NAME,
                "SLUICE_WORKER_NAMESPACE": NAMESPACE,
                "SLUICE_WORKER_VISIBILITY_S": "60",
                "SLUICE_WORKER_GRACE_S": "100",  # within stop_timeout
                "SLUICE_WORKER_PROMISE_S": "180",
                "SLUICE_WORKER_PUBLISH_WAIT": "true",
            },
            logging=ecs.LogDriver.aws_logs(
                stream_prefix="worker",
                log_group=logs.LogGroup(self, "Logs", retention=logs.RetentionDays.ONE_MONTH),
            ),
        )
        queue.grant_consume_messages(definition.task_role)
        definition.add_to_task_role_policy(
            iam.PolicyStatement(
                actions=["cloudwatch:PutMetricData"],
                resources=["*"],
                conditions={"StringEquals": {"cloudwatch:namespace": NAMESPACE}},
            )
        )
        definition.add_to_task_role_policy(
            iam.PolicyStatement(
                actions=["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"],
                resources=[
                    self.format_arn(service="ecs", resource="task", resource_name=f"{cluster.cluster_name}/*")
                ],
            )
        )
        return definition


def main() -> None:
    """Synthesise the app."""
    app = App()
    ReportExport(app, f"sluice-{NAME}")
    app.synth()


if __name__ == "__main__":
    main()

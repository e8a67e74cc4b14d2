"""The EKS driver over HTTP: boto3 against a server that speaks AWS's protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from astroctl.pools.drivers.base import Busy, Denied, NodeRef, Owned, ReferenceGone, Throttled
from astroctl.pools.drivers.eks import EksDriver
from astrosage.errors import ClusterError
from astrosage.spec.pool import PoolReference
from tests.astroctl.pools.drivers.json_server import Answer, JsonServer

pytestmark = [
    pytest.mark.api,
    # moto's server and botocore use what Python 3.12 deprecates.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def client(service: str, endpoint: str) -> Any:
    return boto3.client(service, region_name="eu-west-1", endpoint_url=endpoint)


def reference(endpoint: str, name: str = "h100", cluster: str = "c1") -> PoolReference:
    return PoolReference(name=name, cluster=cluster, region="eu-west-1", endpoint=endpoint)


@pytest.fixture
def group(aws: str) -> Iterator[Callable[..., EksDriver]]:
    eks = client("eks", aws)
    role = "arn:aws:iam::123456789012:role/r"
    eks.create_cluster(
        name="c1", version="1.33", roleArn=role, resourcesVpcConfig={"subnetIds": ["subnet-1"]}
    )

    def make(tags: dict[str, str] | None = None, desired: int = 1) -> EksDriver:
        eks.create_nodegroup(
            clusterName="c1",
            nodegroupName="h100",
            subnets=["subnet-1"],
            nodeRole=role,
            scalingConfig={"minSize": 0, "maxSize": 4, "desiredSize": desired},
            tags=tags or {},
        )
        return EksDriver(reference(aws))

    yield make
    for name in eks.list_nodegroups(clusterName="c1")["nodegroups"]:
        eks.delete_nodegroup(clusterName="c1", nodegroupName=name)
    eks.delete_cluster(name="c1")


def scaling(aws: str) -> dict[str, int]:
    found = client("eks", aws).describe_nodegroup(clusterName="c1", nodegroupName="h100")
    return dict(found["nodegroup"]["scalingConfig"])


def test_size_is_read_and_set(group: Callable[..., EksDriver], aws: str) -> None:
    driver = group()
    size = driver.get()
    assert (size.current, size.desired, size.minimum, size.maximum) == (1, 1, 0, 4)
    assert size.controls == "replicas"
    driver.set_size(3)
    assert scaling(aws) == {"minSize": 0, "maxSize": 4, "desiredSize": 3}
    assert driver.get().desired == 3


def test_the_groups_own_limits_give_way(group: Callable[..., EksDriver], aws: str) -> None:
    driver = group()
    driver.set_size(6)
    assert scaling(aws) == {"minSize": 0, "maxSize": 6, "desiredSize": 6}
    driver.set_size(0)
    assert scaling(aws)["desiredSize"] == 0


def test_where_the_cluster_autoscaler_owns_it_only_limits_change(
    group: Callable[..., EksDriver], aws: str
) -> None:
    driver = group({"k8s.io/cluster-autoscaler/enabled": "true"})
    size = driver.get()
    assert size.controls == "bounds"
    assert "cluster-autoscaler" in size.owner
    with pytest.raises(Owned, match="not ours to set"):
        driver.set_size(3)
    with pytest.raises(Owned):
        driver.remove([NodeRef("n", "aws:///eu-west-1a/i-1")])
    driver.set_bounds(0, 3)
    assert scaling(aws) == {"minSize": 0, "maxSize": 3, "desiredSize": 1}


def test_chosen_instances_go(group: Callable[..., EksDriver], aws: str) -> None:
    driver = group(desired=2)
    ec2, scaling_api = client("ec2", aws), client("autoscaling", aws)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    ec2.create_launch_template(
        LaunchTemplateName="gpu",
        LaunchTemplateData={"ImageId": image, "InstanceType": "p5.48xlarge"},
    )
    scaling_api.create_auto_scaling_group(
        AutoScalingGroupName="g",
        LaunchTemplate={"LaunchTemplateName": "gpu"},
        MinSize=0,
        MaxSize=4,
        DesiredCapacity=2,
        AvailabilityZones=["eu-west-1a"],
    )

    def instances() -> list[str]:
        groups = scaling_api.describe_auto_scaling_groups(AutoScalingGroupNames=["g"])
        return [i["InstanceId"] for i in groups["AutoScalingGroups"][0]["Instances"]]

    first, second = instances()
    driver.get()
    driver.remove([NodeRef("n", f"aws:///eu-west-1a/{first}")])
    assert instances() == [second]
    groups = scaling_api.describe_auto_scaling_groups(AutoScalingGroupNames=["g"])
    assert groups["AutoScalingGroups"][0]["DesiredCapacity"] == 1


@pytest.mark.parametrize(
    ("words", "fine"),
    [("Instance Id not found - No managed instance found", True), ("would go below min", False)],
)
def test_an_instance_that_went_already_is_no_error(words: str, fine: bool) -> None:
    """An earlier round may have been cut short after some of the instances had gone."""
    error = f"<Error><Code>ValidationError</Code><Message>{words}</Message></Error>"
    text = f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>".encode()

    def answer(method: str, *_: Any) -> Answer:
        if method == "GET":
            scaling = {"minSize": 0, "maxSize": 2, "desiredSize": 2}
            return 200, {"nodegroup": {"scalingConfig": scaling}}, {}
        return 400, text, {"Content-Type": "text/xml"}

    server = JsonServer(answer)
    try:
        driver = EksDriver(reference(server.url))
        nodes = [NodeRef("a", "aws:///eu-west-1a/i-1"), NodeRef("b", "aws:///eu-west-1a/i-2")]
        if fine:
            driver.remove(nodes)
            assert len(server.seen) == 3
        else:
            with pytest.raises(ClusterError, match=words):
                driver.remove(nodes)
    finally:
        server.close()


def test_a_node_without_instance_is_told(group: Callable[..., EksDriver]) -> None:
    driver = group()
    with pytest.raises(ReferenceGone, match="instance of node n"):
        driver.remove([NodeRef("n", "kwok://n")])


def test_a_group_that_is_gone(aws: str) -> None:
    with pytest.raises(ReferenceGone, match="EKS node group c1/h100 does not exist"):
        EksDriver(reference(aws)).get()


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astroctl.pools.drivers.eks._ATTEMPTS", 1)
    with pytest.raises(ClusterError, match="EKS node group c1/h100"):
        EksDriver(reference("http://127.0.0.1:9")).get()


@pytest.fixture
def refusing() -> Iterator[Callable[..., JsonServer]]:
    """A server that answers with one error."""
    servers: list[JsonServer] = []

    def start(status: int, code: str, until: int = 1000) -> JsonServer:
        def answer(*_: Any) -> Answer:
            if len(server.seen) > until:
                scaling = {"minSize": 0, "maxSize": 2, "desiredSize": 1}
                return 200, {"nodegroup": {"scalingConfig": scaling}}, {}
            return status, {"message": "no"}, {"x-amzn-ErrorType": code}

        server = JsonServer(answer)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


def test_throttling_passes_by_itself(refusing: Callable[..., JsonServer]) -> None:
    server = refusing(429, "ThrottlingException", until=2)
    assert EksDriver(reference(server.url)).get().desired == 1
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (403, "AccessDeniedException", Denied, "allow eks:DescribeNodegroup"),
        (409, "ResourceInUseException", Busy, "earlier change"),
        (400, "InvalidParameterException", ClusterError, "InvalidParameterException"),
    ],
)
def test_refusals(
    refusing: Callable[..., JsonServer],
    status: int,
    code: str,
    error: type[ClusterError],
    words: str,
) -> None:
    server = refusing(status, code)
    with pytest.raises(error, match=words):
        EksDriver(reference(server.url)).get()
    assert len(server.seen) == 1


def test_endless_throttling_is_given_up(
    refusing: Callable[..., JsonServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astroctl.pools.drivers.eks._ATTEMPTS", 2)
    server = refusing(429, "ThrottlingException")
    with pytest.raises(Throttled):
        EksDriver(reference(server.url)).get()
    assert len(server.seen) == 2

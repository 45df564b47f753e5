"""The files that start clusters, checked without a cloud: Ray's own schema, versions, sums, mounts, secrets."""

import importlib.metadata
import re
import shlex
import tomllib

import jsonschema
import pytest
import ray
import yaml
from packaging.requirements import Requirement
from ray.autoscaler._private.util import prepare_config, validate_config

from cluster.session import MOST

RAY_UP = ("cluster.yaml", "cluster/deploy/gcp.yaml", "cluster/deploy/local.yaml")
FILES = (*RAY_UP, "cluster/deploy/rayjob.yaml", "cluster/deploy/Dockerfile")
TOKEN = "/home/ray/.valence-cluster/token"
# fields of KubeRay's RayJob, by its API reference
KUBERAY = {
    "RayJob": {"apiVersion", "kind", "metadata", "spec"},
    "RayJobSpec": {
        *("activeDeadlineSeconds", "backoffLimit", "rayClusterSpec", "submitterPodTemplate", "metadata"),
        *("clusterSelector", "submitterConfig", "managedBy", "deletionStrategy", "entrypoint", "runtimeEnvYAML"),
        *("jobId", "submissionMode", "entrypointResources", "entrypointNumCpus", "entrypointNumGpus"),
        *("ttlSecondsAfterFinished", "shutdownAfterJobFinishes", "suspend"),
    },
    "RayClusterSpec": {
        *("suspend", "managedBy", "autoscalerOptions", "headServiceAnnotations", "enableInTreeAutoscaling"),
        *("gcsFaultToleranceOptions", "headGroupSpec", "rayVersion", "workerGroupSpecs", "authOptions"),
    },
    "HeadGroupSpec": {
        "template",
        "headService",
        "enableIngress",
        "rayStartParams",
        "serviceType",
        "labels",
        "resources",
    },
    "WorkerGroupSpec": {
        *("suspend", "groupName", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds", "rayStartParams"),
        *("template", "scaleStrategy", "numOfHosts", "labels", "resources"),
    },
    "AutoscalerOptions": {
        *("resources", "image", "imagePullPolicy", "securityContext", "idleTimeoutSeconds", "upscalingMode"),
        *("version", "env", "envFrom", "volumeMounts"),
    },
}


@pytest.fixture
def read(repository):
    """A file by its path, as text; a YAML file parsed with .yaml."""
    return lambda path: (repository / path).read_text()


@pytest.fixture(params=RAY_UP)
def config(request, read):
    return yaml.safe_load(read(request.param))


@pytest.fixture
def rayjob(read):
    return yaml.safe_load(read("cluster/deploy/rayjob.yaml"))


def test_ray_accepts_it(config):
    validate_config(prepare_config(config))


def test_ray_would_refuse_a_misspelt_key(config):
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(config | {"idle_timeout_minute": 5}))
    if types := config.get("available_node_types"):
        types["gpu_spot"]["max_worker"] = 8
        with pytest.raises(jsonschema.ValidationError):
            validate_config(prepare_config(config))


def test_head_says_what_the_nodes_add_up_to(config):
    """A sweep that starts at nothing cuts its packs by these labels."""
    start = next(command for command in config["head_start_ray_commands"] if "--head" in command)
    labels = dict(re.findall(r"(valence/most-\w+)=(\d+)", start))
    assert set(labels) == set(MOST.values())
    if types := config.get("available_node_types"):
        for kind, label in MOST.items():
            most = sum(
                one["resources"].get(kind, 0) * one["max_workers"] for one in types.values() if "max_workers" in one
            )
            assert int(labels[label]) == most, kind
        workers = {name: one for name, one in types.items() if name != config["head_node_type"]}
        assert config["max_workers"] == sum(one["max_workers"] for one in workers.values())
        assert all(one["min_workers"] == 0 and one["idle_timeout_s"] <= 600 for one in workers.values())
        assert types[config["head_node_type"]]["resources"] == {"CPU": 0}
        assert "--num-cpus=0" in start
        assert workers["gpu_spot"]["priority"] > workers["gpu_on_demand"]["priority"] > workers["cpu_spot"]["priority"]


def test_every_node_has_token_results_and_code(config):
    options = " ".join(config["docker"]["run_options"])
    assert "--env RAY_AUTH_MODE=token" in options
    assert f"--env RAY_AUTH_TOKEN_PATH={TOKEN}" in options
    assert "--volume /shared:/shared" in options
    assert "--env PYTHONPATH=/home/ray/valence" in options
    assert set(config["file_mounts"]) == {"/home/ray/.valence-cluster", "/home/ray/valence"}
    assert any(f"chmod 600 {TOKEN}" in command for command in config["setup_commands"])
    assert any("mount -t nfs" in command for command in config["initialization_commands"])
    # what a node type has of its own takes the place of what all have
    for one in config.get("available_node_types", {}).values():
        assert not {"initialization_commands", "worker_setup_commands"} & set(one)
        assert not {"worker_run_options", "head_run_options"} & set(one.get("docker", {}))


def test_nothing_listens_to_the_outside(config):
    start = next(command for command in config["head_start_ray_commands"] if "--head" in command)
    assert "--dashboard-host=127.0.0.1" in start
    if config["provider"]["type"] == "local":
        return
    assert config["provider"]["use_internal_ips"] is True
    for name, one in config["available_node_types"].items():
        node = one["node_config"]
        if config["provider"]["type"] == "gcp":
            assert all("accessConfigs" not in interface for interface in node["networkInterfaces"]), name
            continue
        assert node["MetadataOptions"]["HttpTokens"] == "required", name
        assert node["MetadataOptions"]["HttpPutResponseHopLimit"] == 1, name
        assert [interface["AssociatePublicIpAddress"] for interface in node["NetworkInterfaces"]] == [False], name
        assert all(disk["Ebs"]["Encrypted"] for disk in node["BlockDeviceMappings"]), name


def test_spot_groups_are_spot_and_watched(config):
    if config["provider"]["type"] == "local":
        pytest.skip("machines of one's own are not taken back")
    for name, one in config["available_node_types"].items():
        node = one["node_config"]
        if config["provider"]["type"] == "aws":
            is_spot = node.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
        else:
            is_spot = any(rule.get("provisioningModel") == "SPOT" for rule in node.get("scheduling", ()))
        assert is_spot == name.endswith("_spot"), name
        if name != "head":
            assert one["labels"]["market"] == ("spot" if is_spot else "on-demand")
    watchers = [command for command in config["worker_start_ray_commands"] if "cluster.spot_watcher" in command]
    assert [f"--cloud {config['provider']['type']}" in command for command in watchers] == [True]


@pytest.mark.parametrize("path", FILES)
def test_images_are_of_this_ray_and_pinned(path, read):
    images = re.findall(r"(?:image:|FROM)\s+([^\s}]+)", read(path))
    assert images
    for image in images:
        tag = image.rpartition(":")[2]
        assert tag != image, image
        assert "latest" not in tag, image
        assert re.match(r"\d+\.\d+\.\d+", tag), image
        if image.startswith("rayproject/"):
            assert re.fullmatch(rf"rayproject/ray:{re.escape(ray.__version__)}-py311(-gpu)?", image)


@pytest.mark.parametrize("path", FILES[:3] + FILES[4:])
def test_what_is_installed_is_pinned(path, read):
    commands = re.findall(r"^[^#\n]*?(pip install [^\n&#\\]*)", read(path), re.MULTILINE)
    assert len(commands) >= 2
    for command in commands:
        words = [word for word in shlex.split(command)[2:] if not word.startswith("-")]
        if ".[gpu,cloud]" in words:
            assert "--constraint cluster/deploy/requirements.txt" in command
            continue
        assert words, command
        assert [pin.operator for word in words for pin in Requirement(word).specifier] == ["=="] * len(words), command


def test_requirements_are_what_is_declared_and_tested(read):
    """Every line is one version; all that pyproject.toml asks for is in it, within its bounds."""
    lines = read("cluster/deploy/requirements.txt").splitlines()
    pins = {}
    for line in lines:
        requirement = Requirement(line)
        (pin,) = requirement.specifier
        assert pin.operator == "==", line
        pins[requirement.name.lower().replace("_", "-")] = pin.version
    assert pins["ray"] == ray.__version__
    project = tomllib.loads(read("pyproject.toml"))["project"]
    asked = [
        *project["dependencies"],
        *project["optional-dependencies"]["gpu"],
        *project["optional-dependencies"]["cloud"],
    ]
    for line in asked:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins[requirement.name.lower()]), line
    for name in ("torch", "numpy", "braindecode", "transformers", "scipy", "pyarrow"):
        assert pins[name] == importlib.metadata.version(name).partition("+")[0], f"{name} is tested in another version"


@pytest.mark.parametrize("path", FILES)
def test_no_secret_is_in_a_file(path, read):
    text = read(path)
    patterns = (
        r"AKIA[0-9A-Z]{16}", r"-----BEGIN", r"\b[0-9a-f]{32,}\b", r"gh[pousr]_\w{20,}", r"AIza[\w-]{30,}", r"ya29\.",
        r"(?i)\b(password|secret_access_key|secret_key|api_key|auth_token)\s*[:=]\s*\S", r"RAY_AUTH_TOKEN=",
    )  # fmt: skip
    for pattern in patterns:
        assert not re.search(pattern, text), f"{path}: {pattern}"


def test_secret_patterns_find_secrets(tmp_path):
    with pytest.raises(AssertionError):
        test_no_secret_is_in_a_file("x", lambda path: "--env RAY_AUTH_TOKEN=abc")
    with pytest.raises(AssertionError):
        test_no_secret_is_in_a_file("x", lambda path: "aws_access_key: AKIAABCDEFGHIJKLMNOP")


@pytest.mark.parametrize("path", RAY_UP)
def test_commands_hold_no_comment(path, read):
    """In a folded YAML block a comment is part of the command."""
    config = yaml.safe_load(read(path))
    lists = [value for name, value in config.items() if name.endswith("_commands")]
    assert not [command for commands in lists for command in commands if "#" in command]


def test_rayjob_has_fields_that_kuberay_knows(rayjob):
    spec, cluster = rayjob["spec"], rayjob["spec"]["rayClusterSpec"]
    assert (rayjob["apiVersion"], rayjob["kind"]) == ("ray.io/v1", "RayJob")
    found = {"RayJob": rayjob, "RayJobSpec": spec, "RayClusterSpec": cluster, "HeadGroupSpec": cluster["headGroupSpec"]}
    found["AutoscalerOptions"] = cluster["autoscalerOptions"]
    found |= {f"WorkerGroupSpec {group['groupName']}": group for group in cluster["workerGroupSpecs"]}
    for name, fields in found.items():
        assert not set(fields) - KUBERAY[name.partition(" ")[0]], name
    assert cluster["rayVersion"] == ray.__version__
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert cluster["authOptions"] == {"mode": "token"}
    assert spec["shutdownAfterJobFinishes"] is True
    assert "/shared/" in spec["entrypoint"]


def test_rayjob_scales_from_zero_and_sums_up(rayjob):
    cluster = rayjob["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]
    assert head["rayStartParams"] == {"num-cpus": "0"}
    most = {"CPU": 0, "GPU": 0}
    for group in cluster["workerGroupSpecs"]:
        assert group["replicas"] == group["minReplicas"] == 0 < group["maxReplicas"]
        (container,) = group["template"]["spec"]["containers"]
        resources = container["resources"]
        assert resources["requests"] == resources["limits"], "a pod that is squeezed is a node that is lost"
        most["CPU"] += int(resources["limits"]["cpu"]) * group["maxReplicas"]
        most["GPU"] += int(resources["limits"].get("nvidia.com/gpu", 0)) * group["maxReplicas"]
        hook = container["lifecycle"]["preStop"]["exec"]["command"][-1]
        drained_s, slept_s = map(
            int, re.fullmatch(r"python -m cluster.spot_watcher --now (\d+) && sleep (\d+)", hook).groups()
        )
        assert slept_s < drained_s < group["template"]["spec"]["terminationGracePeriodSeconds"]
    assert head["labels"] == {MOST[kind]: str(amount) for kind, amount in most.items()}


def test_rayjob_pods_share_results_and_little_else(rayjob):
    cluster = rayjob["spec"]["rayClusterSpec"]
    images = set()
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/shared"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        images.add(container["image"])
    assert len(images) == 1
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"

"""The values that the chart is rendered with: all that matter, each by itself, and all at once."""

from __future__ import annotations

from typing import Any

Values = dict[str, Any]

ENDPOINT: Values = {
    "endpoint": {
        "enabled": True,
        "model": "pvc://models/astro-mini",
        "keysSecret": "astro-keys",
        "rayTokenSecret": "astro-ray",
    }
}
INGRESS: Values = {
    "endpoint": {
        **ENDPOINT["endpoint"],
        "ingress": {"enabled": True, "host": "astro.example.org", "tlsSecret": "astro-tls"},
        "route": {
            "enabled": True,
            "parents": [{"name": "public", "namespace": "gateways"}],
            "hostnames": ["astro.example.org"],
        },
    }
}
MONITORING: Values = {
    "monitoring": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "podMonitor": {"enabled": True},
        "alerts": {"enabled": True},
        "dashboards": {"enabled": True, "annotations": {"grafana_folder": "AstroSage"}},
    }
}
STORAGE: Values = {"sharedStorage": {"create": True, "storageClassName": "nfs"}}
POOLS: Values = {"pools": {"enabled": True}}
TEAMS: Values = {"watchNamespaces": ["team-a", "team-b"]}
ALL_NAMESPACES: Values = {"watchAllNamespaces": True}
PLACED: Values = {
    "imagePullSecrets": ["registry"],
    "commonLabels": {"team": "astro"},
    "operator": {
        "replicas": 3,
        "nodeSelector": {"role": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "podLabels": {"a": "b"},
        "podAnnotations": {"c": "d"},
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "envFromSecrets": ["cloud"],
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r"}},
    },
}
NOTHING: Values = {
    "crds": {"install": False},
    "networkPolicy": {"enabled": False},
    "rbac": {"create": False},
    "tests": {"enabled": False},
    "operator": {"replicas": 1, "serviceAccount": {"create": False, "name": "theirs"}},
    "jobs": {"serviceAccount": {"create": False}},
}
NETWORK: Values = {
    "networkPolicy": {
        "denyRest": True,
        "apiServer": {"cidrs": ["10.0.0.1/32"], "ports": [6443]},
        "jobs": {
            "instanceMetadata": True,
            "storage": {
                "cidrs": ["10.0.0.0/8"],
                "ports": [443, 9000],
                "peers": [{"namespaceSelector": {"matchLabels": {"name": "minio"}}}],
            },
            "extraEgress": [{"ports": [{"port": 8080}]}],
        },
    }
}
SETTINGS: Values = {
    "settings": {
        "image": "registry.example.org/ray:1",
        "storage": "s3://bucket/runs",
        "runAsUser": None,
        "fsGroup": None,
    }
}


def merged(*parts: Values) -> Values:
    """Values with those of all parts, the later ones first."""
    whole: Values = {}
    for part in parts:
        for key, value in part.items():
            old = whole.get(key)
            both = isinstance(old, dict) and isinstance(value, dict)
            whole[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return whole


MATRIX: dict[str, Values] = {
    "default": {},
    "pools": POOLS,
    "teams": TEAMS,
    "all-namespaces": ALL_NAMESPACES,
    "storage": STORAGE,
    "endpoint": ENDPOINT,
    "ingress": INGRESS,
    "monitoring": MONITORING,
    "placed": PLACED,
    "network": NETWORK,
    "settings": SETTINGS,
    "nothing": NOTHING,
    "all": merged(POOLS, TEAMS, STORAGE, INGRESS, MONITORING, PLACED, NETWORK),
    "all-cluster-wide": merged(POOLS, ALL_NAMESPACES, STORAGE, INGRESS, MONITORING, PLACED),
}

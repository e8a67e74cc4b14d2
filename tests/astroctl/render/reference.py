"""Three jobs whose manifests are kept as golden files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from astroctl.render.settings import Settings
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse
from astrosage.spec.pool import GPUNodePool

UID = "4f6c0c0e-6d0b-4d43-9d5f-2f0f5f1d7a11"


@dataclass(frozen=True)
class Reference:
    job: AstroJob
    settings: Settings
    pools: dict[str, GPUNodePool] = field(default_factory=dict)


def job(text: str) -> AstroJob:
    return parse(yaml.safe_load(text))


def pool(text: str) -> GPUNodePool:
    return GPUNodePool.model_validate(yaml.safe_load(text))


def small(**cluster: Any) -> AstroJob:
    """A job of one stage with a cluster as given."""
    return parse(
        {
            "apiVersion": "astrosage.io/v1alpha1",
            "kind": "AstroJob",
            "metadata": {"name": "small", "namespace": "science"},
            "spec": {
                "model": "s3://models/smollm2-135m",
                "storage": "s3://runs/team",
                "stages": [
                    {"name": "corpus", "prepare": {"sources": [{"path": "s3://texts/a.md"}]}}
                ],
                "cluster": cluster,
            },
        }
    )


CPU_ON_A_CLAIM = Reference(
    job(
        """
        apiVersion: astrosage.io/v1alpha1
        kind: AstroJob
        metadata: {name: astro-mini, namespace: science}
        spec:
          model: smollm2-135m
          stages:
            - name: corpus
              prepare: {sources: [{path: "s3://texts/articles/*.md"}]}
            - name: cpt
              train: {objective: cpt, data: corpus, epochs: 2}
          cluster:
            workers: 2
            resourcesPerWorker: {cpu: 1, memory: 6Gi}
        """
    ),
    Settings(storage="pvc://runs/astro", cpu_limits=True),
)

SPOT_H100 = Reference(
    job(
        """
        apiVersion: astrosage.io/v1alpha1
        kind: AstroJob
        metadata: {name: astrosage-8b, namespace: science}
        spec:
          model: llama-3.1-8b
          storage: s3://astro-runs/prod
          activeDeadlineSeconds: 604800
          stages:
            - name: corpus
              prepare: {sources: [{path: "s3://texts/papers/*.jsonl"}]}
              cluster:
                workers: 8
                resourcesPerWorker: {cpu: 4, memory: 16Gi}
            - name: cpt
              train: {objective: cpt, data: corpus, epochs: 2, learningRate: 2.0e-5}
            - name: score
              bench: {model: cpt, questions: [{path: "s3://texts/quiz.jsonl"}]}
          cluster:
            workers: 16
            resourcesPerWorker: {cpu: 12, gpu: 1, memory: 112Gi}
            pool: h100-spot
            kubernetes:
              image: registry.example.org/astrosage/ray:0.1.0
              imagePullSecrets: [registry]
              serviceAccount: trainer
              priorityClass: research
              sharedMemory: 128Gi
              terminationGraceSeconds: 300
              envFromSecrets: [s3-credentials]
              env:
                - {name: HF_TOKEN, secret: {name: hub, key: token}}
              podLabels: {cost-centre: astronomy}
        """
    ),
    Settings(service_account="jobs"),
    {
        "h100-spot": pool(
            """
            apiVersion: astrosage.io/v1alpha1
            kind: GPUNodePool
            metadata: {name: h100-spot}
            spec:
              driver: eks
              reference: {name: h100-spot, cluster: research}
              maxNodes: 8
              accelerator: H100
              cpusPerNode: 180
              memoryPerNode: 1900Gi
              pricePerHour: 39.5
              spot: true
              fallback: h100
              bootSeconds: 900
              nodeSelector: {node.kubernetes.io/instance-type: p5.48xlarge, capacity: spot}
              tolerations: [{key: reserved, operator: Equal, value: gpu, effect: NoSchedule}]
              network:
                resources: {vpc.amazonaws.com/efa: 32}
                env:
                  - {name: FI_PROVIDER, value: efa}
                  - {name: NCCL_SOCKET_IFNAME, value: "^lo,docker"}
            """
        )
    },
)

ELASTIC_IN_A_QUEUE = Reference(
    job(
        """
        apiVersion: astrosage.io/v1alpha1
        kind: AstroJob
        metadata: {name: elastic, namespace: science}
        spec:
          model: s3://models/smollm2-1.7b
          storage: gs://astro-runs
          stages:
            - name: chat
              prepare: {format: chat, sources: [{path: "gs://texts/chat.jsonl"}]}
            - name: sft
              train: {objective: sft, data: chat, epochs: 1}
          cluster:
            workers: {min: 2, max: 8}
            resourcesPerWorker: {cpu: 6, gpu: 1, memory: 48Gi}
            queue: research
            kubernetes:
              head: {cpu: 4, memory: 16Gi, nodeSelector: {role: system}}
              tolerations: [{key: team, operator: Equal, value: astro}]
        """
    ),
    Settings(),
)

REFERENCES = {
    "cpu-on-a-claim": CPU_ON_A_CLAIM,
    "8b-on-spot-h100": SPOT_H100,
    "elastic-in-a-queue": ELASTIC_IN_A_QUEUE,
}

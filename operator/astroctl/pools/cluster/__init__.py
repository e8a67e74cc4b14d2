"""What Kubernetes shows of pools: nodes, pods and whom they belong to, as the policy's facts."""

"""What carries out a pool's size: Kubernetes objects with a scale, Karpenter, clouds."""

"""GPU node pools: the policy, a simulator of it, and the drivers that carry it out."""

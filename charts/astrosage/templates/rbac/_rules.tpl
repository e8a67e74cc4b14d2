{{- /* What the operator does in every namespace that it watches: what its code calls, no more. */ -}}
{{- define "astrosage.jobRules" -}}
# A job is deleted when its ttlSecondsAfterFinished is over.
- apiGroups: [astrosage.io]
  resources: [astrojobs]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [astrosage.io]
  resources: [astrojobs/status]
  verbs: [patch]
# Owned objects block their owner's deletion, which some clusters allow only with this right.
- apiGroups: [astrosage.io]
  resources: [astrojobs/finalizers]
  verbs: [update]
- apiGroups: [ray.io]
  resources: [rayjobs]
  verbs: [get, list, watch, create, delete]
# One secret a job, with Ray's token. RBAC cannot name it: its name is the job's.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [create]
# Why a job waits.
- apiGroups: [""]
  resources: [pods, persistentvolumeclaims]
  verbs: [get, list]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create]
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads, localqueues]
  verbs: [get, list]
{{- end }}

{{- /* What pools need, cluster-wide: nodes and pools are in no namespace, and any pod may use a node. */ -}}
{{- define "astrosage.poolRules" -}}
- apiGroups: [astrosage.io]
  resources: [gpunodepools]
  verbs: [get, list, watch]
- apiGroups: [astrosage.io]
  resources: [gpunodepools/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [nodes]
  verbs: [list, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
# Which pods belong together, and what a job has cost.
- apiGroups: [ray.io]
  resources: [rayclusters]
  verbs: [list]
- apiGroups: [astrosage.io]
  resources: [astrojobs]
  verbs: [list]
{{- range .Values.pools.scale }}
- apiGroups: [{{ .apiGroup | quote }}]
  resources: [{{ join ", " .resources }}]
  verbs: [get, patch]
- apiGroups: [{{ .apiGroup | quote }}]
  resources: [{{ range $i, $r := .resources }}{{ if $i }}, {{ end }}{{ $r }}/scale{{ end }}]
  verbs: [get, patch]
# Which node goes first.
{{- if eq .apiGroup "cluster.x-k8s.io" }}
- apiGroups: [cluster.x-k8s.io]
  resources: [machines]
  verbs: [get, patch]
{{- else if eq .apiGroup "karpenter.sh" }}
- apiGroups: [karpenter.sh]
  resources: [nodeclaims]
  verbs: [get, list, patch]
{{- end }}
{{- end }}
{{- if .Values.pools.scale }}
# Whether another scales what we would.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
{{- end }}
{{- end }}

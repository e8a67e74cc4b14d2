{{- /*
Pods of the endpoint, as astroctl.render.pods makes them for `astroctl serve`; a test holds them together.
*/ -}}
{{- define "astrosage.endpointToken" -}}
{{- default (printf "%s-ray-token" .Values.endpoint.name) .Values.endpoint.rayTokenSecret }}
{{- end }}

{{- /* A quarter of a quantity. */ -}}
{{- define "astrosage.quarter" -}}
{{- $number := regexFind "^[0-9.]+" . -}}
{{- $unit := trimPrefix $number . -}}
{{- $smaller := dict "Ti" "Gi" "Gi" "Mi" "Mi" "Ki" -}}
{{- if hasKey $smaller $unit -}}
{{ mulf (float64 $number) 256 | int }}{{ get $smaller $unit }}
{{- else -}}
{{ divf (float64 $number) 4 | int }}{{ $unit }}
{{- end -}}
{{- end }}

{{- define "astrosage.endpointLabels" -}}
app.kubernetes.io/instance: {{ .root.Values.endpoint.name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: astrosage
app.kubernetes.io/managed-by: {{ default "astrosage-operator" .by }}
astrosage.io/endpoint: {{ .root.Values.endpoint.name }}
{{- end }}

{{- define "astrosage.endpointPodSecurity" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- if .runAsUser }}
runAsUser: {{ .runAsUser }}
{{- end }}
{{- if .fsGroup }}
fsGroup: {{ .fsGroup }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
{{- end }}

{{- define "astrosage.endpointContainerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end }}

{{- /* Variables: the settings' replace ours of the same name. */ -}}
{{- define "astrosage.endpointEnv" -}}
{{- $given := dict }}
{{- range .settings.env }}
{{- $variable := dict "name" .name "value" (default "" .value) }}
{{- if .secret }}
{{- $variable = dict "name" .name "valueFrom" (dict "secretKeyRef" (pick .secret "name" "key")) }}
{{- end }}
{{- $_ := set $given .name $variable }}
{{- end }}
{{- $env := list }}
{{- range .env }}{{ if not (hasKey $given .name) }}{{ $env = append $env . }}{{ end }}{{ end }}
{{- range keys $given | sortAlpha }}{{ $env = append $env (get $given .) }}{{ end }}
{{- toYaml $env }}
{{- end }}

{{- define "astrosage.endpointPod" -}}
{{- $root := .root }}
{{- $endpoint := $root.Values.endpoint }}
{{- $settings := .settings }}
{{- $worker := eq .component "worker" }}
{{- /* Made from astroctl.render.pods. */}}
{{- $parts := $root.Files.Get "files/endpoint.json" | fromJson }}
{{- $elastic := kindIs "map" $endpoint.replicas }}
{{- $claimed := hasPrefix "pvc://" $endpoint.model }}
{{- $each := $endpoint.resourcesPerReplica }}
{{- $cpu := ternary $each.cpu $settings.head.cpu $worker }}
{{- $memory := ternary $each.memory $settings.head.memory $worker }}
{{- $gpus := ternary (int (ceil $each.gpu)) 0 $worker }}
metadata:
  labels:
    {{- include "astrosage.endpointLabels" (dict "root" $root "component" .component) | nindent 4 }}
  annotations:
    karpenter.sh/do-not-disrupt: "true"
    cluster-autoscaler.kubernetes.io/safe-to-evict: "false"
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ ternary 120 30 $worker }}
  securityContext:
    {{- include "astrosage.endpointPodSecurity" $settings | nindent 4 }}
  {{- with $settings.serviceAccount }}
  serviceAccountName: {{ . }}
  {{- end }}
  {{- with $settings.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $settings.priorityClass }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- if $worker }}
  {{- with merge (deepCopy $endpoint.nodeSelector) (default dict $settings.workerNodeSelector) }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- $tolerations := concat (default list $settings.workerTolerations) $endpoint.tolerations }}
  {{- if $gpus }}
  {{- $tolerations = prepend $tolerations (dict "key" "nvidia.com/gpu" "operator" "Exists" "effect" "NoSchedule") }}
  {{- end }}
  {{- with $tolerations }}
  tolerations:
    {{- range . }}
    - {{ merge (deepCopy .) (dict "operator" "Exists") | toYaml | nindent 6 | trim }}
    {{- end }}
  {{- end }}
  {{- else }}
  {{- with $settings.head.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  # Off nodes that may be taken away, and off GPU nodes, if it can.
  affinity:
    {{- toYaml $parts.headAffinity | nindent 4 }}
  {{- end }}
  containers:
    - name: ray
      image: {{ $settings.image }}
      {{- with $settings.imagePullPolicy }}
      imagePullPolicy: {{ . }}
      {{- end }}
      env:
        {{- include "astrosage.endpointEnv" (dict "env" (get $parts.env (ternary (ternary "gpu" "cpu" (gt $gpus 0)) "head" $worker)) "settings" $settings) | nindent 8 }}
      {{- with $settings.envFromSecrets }}
      envFrom:
        {{- range . }}
        - secretRef: {name: {{ . }}}
        {{- end }}
      {{- end }}
      resources:
        requests:
          cpu: {{ $cpu }}
          {{- with $memory }}
          memory: {{ . }}
          {{- end }}
          {{- if $gpus }}
          nvidia.com/gpu: {{ $gpus }}
          {{- end }}
        {{- if or $memory $gpus $settings.cpuLimits }}
        limits:
          {{- if $settings.cpuLimits }}
          cpu: {{ $cpu }}
          {{- end }}
          {{- with $memory }}
          memory: {{ . }}
          {{- end }}
          {{- if $gpus }}
          nvidia.com/gpu: {{ $gpus }}
          {{- end }}
        {{- end }}
      securityContext:
        {{- include "astrosage.endpointContainerSecurity" $root | nindent 8 }}
      {{- if $worker }}
      lifecycle:
        {{- toYaml $parts.lifecycle | nindent 8 }}
      {{- end }}
      volumeMounts:
        - {name: shared-memory, mountPath: /dev/shm}
        - {name: ray-logs, mountPath: /tmp/ray}
        - {name: cache, mountPath: /astrosage/cache}
        {{- if $claimed }}
        - {name: storage, mountPath: /astrosage/storage, readOnly: true}
        {{- end }}
        {{- if $worker }}
        - {name: keys, mountPath: /astrosage/keys, readOnly: true}
        {{- end }}
  volumes:
    - name: shared-memory
      emptyDir:
        medium: Memory
        sizeLimit: {{ ternary $endpoint.sharedMemory (include "astrosage.quarter" $settings.head.memory) $worker }}
    - name: ray-logs
      emptyDir: {}
    - name: cache
      emptyDir: {}
    {{- if $claimed }}
    - name: storage
      persistentVolumeClaim:
        claimName: {{ (splitn "/" 2 (trimPrefix "pvc://" $endpoint.model))._0 }}
        readOnly: true
    {{- end }}
    {{- if $worker }}
    - name: keys
      secret:
        secretName: {{ required "endpoint.keysSecret is needed: a Secret, each of whose values is an API key" $endpoint.keysSecret }}
        defaultMode: 0440
    {{- else if $elastic }}
    # For Ray's autoscaler alone.
    - name: autoscaler-token
      projected:
        sources:
          - serviceAccountToken: {path: token, expirationSeconds: 3600}
          - configMap:
              name: kube-root-ca.crt
              items: [{key: ca.crt, path: ca.crt}]
          - downwardAPI:
              items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]
    {{- end }}
{{- end }}

{{- define "astrosage.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "astrosage.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "astrosage.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "astrosage.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Cluster-wide objects of two releases must not meet. */ -}}
{{- define "astrosage.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "astrosage.fullname" .) }}
{{- end }}

{{- define "astrosage.selector" -}}
app.kubernetes.io/name: {{ include "astrosage.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "astrosage.labels" -}}
{{ include "astrosage.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: astrosage
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "astrosage.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end }}
{{- end }}

{{- define "astrosage.operatorAccount" -}}
{{- $account := .Values.operator.serviceAccount -}}
{{- if $account.create }}{{ default (printf "%s-operator" (include "astrosage.fullname" .)) $account.name }}
{{- else }}{{ required "operator.serviceAccount.name is needed when operator.serviceAccount.create is false" $account.name }}{{ end }}
{{- end }}

{{- /* The namespaces with jobs that are known when the chart is rendered, as a JSON list. */ -}}
{{- define "astrosage.namespaces" -}}
{{- concat (list .Release.Namespace) .Values.watchNamespaces | uniq | toJson }}
{{- end }}

{{- /* Restricted Pod Security Standard. */ -}}
{{- define "astrosage.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "astrosage.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* Settings of the operator: what was given, and what follows from other values. */ -}}
{{- define "astrosage.settings" -}}
{{- $settings := deepCopy .Values.settings }}
{{- $_ := set $settings "poolsEnabled" .Values.pools.enabled }}
{{- $_ := set $settings "watchNamespaces" (ternary (list) (include "astrosage.namespaces" . | fromJsonArray) .Values.watchAllNamespaces) }}
{{- if and .Values.jobs.serviceAccount.create (not $settings.serviceAccount) (not .Values.watchAllNamespaces) }}
{{- $_ := set $settings "serviceAccount" .Values.jobs.serviceAccount.name }}
{{- end }}
{{- if and .Values.sharedStorage.create (not $settings.storage) (not .Values.watchAllNamespaces) }}
{{- $_ := set $settings "storage" (printf "pvc://%s" .Values.sharedStorage.name) }}
{{- end }}
{{- /* Helm takes out what is null, and these have defaults. */}}
{{- range list "runAsUser" "fsGroup" }}
{{- if not (hasKey $settings .) }}{{ $_ := set $settings . nil }}{{ end }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

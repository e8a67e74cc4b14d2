{{- define "astrosage.dnsRule" -}}
- to:
    {{- toYaml .Values.networkPolicy.dns | nindent 4 }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}

{{- /* Policies see the API server's own address, not that of its service. */ -}}
{{- define "astrosage.apiServerRule" -}}
- ports:
    {{- range .Values.networkPolicy.apiServer.ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with .Values.networkPolicy.apiServer.cidrs }}
  to:
    {{- range . }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  {{- end }}
{{- end }}

{{- define "astrosage.operatorPeer" -}}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ .Release.Namespace }}
  podSelector:
    matchLabels:
      {{- include "astrosage.selector" . | nindent 6 }}
      app.kubernetes.io/component: operator
{{- end }}

{{- /* The namespaces with jobs. */ -}}
{{- define "astrosage.jobNamespaces" -}}
{{- if .Values.watchAllNamespaces -}}
{}
{{- else -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: In
    values:
      {{- include "astrosage.namespaces" . | fromJsonArray | toYaml | nindent 6 }}
{{- end }}
{{- end }}

{{- define "astrosage.externalRules" -}}
{{- $storage := .Values.networkPolicy.jobs.storage }}
- to:
    {{- range $storage.cidrs }}
    - ipBlock:
        cidr: {{ . | quote }}
        {{- if eq . "0.0.0.0/0" }}
        {{- /* Credentials of the node are to be had there. */}}
        except: [169.254.0.0/16]
        {{- end }}
    {{- end }}
    {{- with $storage.peers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    {{- range $storage.ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- if .Values.networkPolicy.jobs.instanceMetadata }}
- to:
    - ipBlock: {cidr: 169.254.169.254/32}
    - ipBlock: {cidr: 169.254.169.252/32}
    - ipBlock: {cidr: 169.254.170.23/32}
  ports:
    - {protocol: TCP, port: 80}
    - {protocol: TCP, port: 988}
{{- end }}
{{- with .Values.networkPolicy.jobs.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end }}

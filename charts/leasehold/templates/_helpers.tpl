{{/* The name of everything: the release's, unless another is given. */}}
{{- define "leasehold.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "leasehold.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "leasehold.name" .) -}}
{{- end -}}

{{/* Labels that choose the agents' pods, and can never be changed. */}}
{{- define "leasehold.selector" -}}
app.kubernetes.io/name: leasehold
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "leasehold.labels" -}}
{{ include "leasehold.selector" . }}
app.kubernetes.io/part-of: leasehold
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "leasehold.kind" -}}
{{- .Values.kind | default (ternary "Deployment" "DaemonSet" (eq .Values.placement "beside-application")) -}}
{{- end -}}

{{/* The Secret that holds the token. */}}
{{- define "leasehold.tokenSecret" -}}
{{- .Values.hcloud.existingSecret | default (printf "%s-hcloud-token" (include "leasehold.name" .)) -}}
{{- end -}}

{{- define "leasehold.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The settings of every agent, as text. Fails on what the schema of the values cannot see. */}}
{{- define "leasehold.settings" -}}
{{- $settings := dict "PROVIDER" .Values.provider "ADDRESSES" (join "," .Values.addresses) -}}
{{- if ne (include "leasehold.name" .) "leasehold" -}}
{{- $_ := set $settings "LEASE_NAME" (include "leasehold.name" .) -}}
{{- end -}}
{{- if eq .Values.placement "beside-application" -}}
{{- with .Values.application -}}
{{- $_ := set $settings "APPLICATION_NAMESPACE" .namespace -}}
{{- if .service -}}
{{- $_ := set $settings "APPLICATION_SERVICE" .service -}}
{{- else if .matchLabels -}}
{{- $pairs := list -}}
{{- range $name, $value := .matchLabels -}}{{- $pairs = append $pairs (printf "%s=%s" $name $value) -}}{{- end -}}
{{- $_ := set $settings "APPLICATION_SELECTOR" (join "," $pairs) -}}
{{- end -}}
{{- if not .matchLabels -}}{{- fail "placement: beside-application needs application.matchLabels, the labels of the application's pods" -}}{{- end -}}
{{- $_ := set $settings "APPLICATION_EVICTION" (toString .evict) -}}
{{- $_ := set $settings "APPLICATION_ABSENCE_MAX" .absenceMax -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.placement "control-plane-nodes") (not (hasKey .Values.settings "LEASE_DURATION")) -}}
{{- /* When etcd changes its leader nothing can be written for a second or two. */ -}}
{{- $_ := set $settings "LEASE_DURATION" "5s" -}}
{{- $_ := set $settings "RENEW_DEADLINE" "4s" -}}
{{- end -}}
{{- range $name, $value := merge (dict) .Values.settings $settings }}
{{ $name }}: {{ $value | quote }}
{{- end -}}
{{- end -}}

{{/* Binds a role to the agents' account. Of a namespace, if there is one. */}}
{{- define "leasehold.binding" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "leasehold.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "leasehold.serviceAccount" .root }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{/* Where agents belong; what values.yaml says of affinity is added to it, or takes the place of the same part of it. */}}
{{- define "leasehold.affinity" -}}
{{- if eq .Values.placement "control-plane-nodes" }}
nodeAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    nodeSelectorTerms:
      # kubeadm gives the label no value, K3s gives it the value true.
      - matchExpressions:
          - key: node-role.kubernetes.io/control-plane
            operator: Exists
{{- else if eq (include "leasehold.kind" .) "Deployment" }}
{{- if eq .Values.placement "beside-application" }}
podAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    - topologyKey: kubernetes.io/hostname
      labelSelector:
        matchLabels:
          {{- toYaml .Values.application.matchLabels | nindent 10 }}
      namespaces: [{{ .Values.application.namespace }}]
{{- end }}
# Never two on a node.
podAntiAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    - topologyKey: kubernetes.io/hostname
      labelSelector:
        matchLabels:
          {{- include "leasehold.selector" . | nindent 10 }}
{{- end }}
{{- end }}

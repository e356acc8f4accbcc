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

{{/*
What the agents prove themselves with at the provider, as YAML; nothing where there is nothing to prove: the Secret, the folder that
it is mounted in, and its keys with the file of each, the variable that names the file, and the value that makes the key.
*/}}
{{- define "leasehold.credentials" -}}
{{- $provider := .Values.provider -}}
{{- $own := dict "existingSecret" "" -}}
{{- $found := dict -}}
{{- if hasPrefix "hcloud-" $provider -}}
{{- $own = .Values.hcloud -}}
{{- $key := dict "key" $own.existingSecretKey "file" "token" "variable" "HCLOUD_TOKEN_FILE" "value" $own.token "from" "hcloud.token" -}}
{{- $found = dict "name" "hcloud-token" "folder" "/etc/leasehold/hcloud" "keys" (list $key) "values" "hcloud" -}}
{{- else if eq $provider "netcup" -}}
{{- $own = .Values.netcup -}}
{{- $key := dict "key" $own.existingSecretKey "file" "token" "variable" "NETCUP_REFRESH_TOKEN_FILE" "value" $own.refreshToken "from" "netcup.refreshToken" -}}
{{- $found = dict "name" "netcup-token" "folder" "/etc/leasehold/netcup" "keys" (list $key) "values" "netcup" -}}
{{- else if eq $provider "hetzner-robot" -}}
{{- $own = .Values.robot -}}
{{- $user := dict "key" "user" "file" "user" "variable" "ROBOT_USER_FILE" "value" $own.user "from" "robot.user" -}}
{{- $password := dict "key" "password" "file" "password" "variable" "ROBOT_PASSWORD_FILE" "value" $own.password "from" "robot.password" -}}
{{- $found = dict "name" "robot-login" "folder" "/etc/leasehold/robot" "keys" (list $user $password) "values" "robot" -}}
{{- else if and (eq $provider "exec") (or .Values.exec.secret .Values.exec.existingSecret) -}}
{{- $own = .Values.exec -}}
{{- $key := dict "key" $own.existingSecretKey "file" "token" "variable" "EXEC_SECRET_FILE" "value" $own.secret "from" "exec.secret" -}}
{{- $found = dict "name" "exec-secret" "folder" "/etc/leasehold/exec-secret" "keys" (list $key) "values" "exec" -}}
{{- end -}}
{{- if $found -}}
{{- $made := printf "%s-%s" (include "leasehold.name" .) $found.name -}}
{{- $_ := set $found "secret" ($own.existingSecret | default $made) -}}
{{- $_ := set $found "isMade" (not $own.existingSecret) -}}
{{- toYaml $found -}}
{{- end -}}
{{- end -}}

{{/* Whether a script of the values is what the command runs. */}}
{{- define "leasehold.script" -}}
{{- if and (eq .Values.provider "exec") .Values.exec.script -}}
{{- $program := first (splitList " " .Values.exec.command) -}}
{{- if ne (dir $program) "/etc/leasehold/exec" -}}
{{- fail "exec.script is laid into /etc/leasehold/exec: exec.command has to name a program there" -}}
{{- end -}}
{{- base $program -}}
{{- end -}}
{{- end -}}

{{/* PROVIDER_TIMEOUT as it is by default, and 15 s. On a segment nothing lingers. */}}
{{- define "leasehold.grace" -}}
{{- $seconds := dict "hcloud-floating-ip" 45 "hcloud-alias-ip" 75 "netcup" 45 "hetzner-robot" 195 "exec" 75 "l2" 15 -}}
{{- .Values.terminationGracePeriodSeconds | default (get $seconds .Values.provider) -}}
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
{{- if eq .Values.provider "exec" -}}
{{- $_ := set $settings "EXEC_COMMAND" .Values.exec.command -}}
{{- end -}}
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

{{- define "carbonbudget.labels" -}}
app.kubernetes.io/name: carbonbudget
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What a workload selects its pods by; it must never change between versions. */}}
{{- define "carbonbudget.selector" -}}
app.kubernetes.io/name: carbonbudget
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- define "carbonbudget.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "carbonbudget.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The restricted Pod Security level, for all but the agent. */}}
{{- define "carbonbudget.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "carbonbudget.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* A token that only our server accepts: another audience than the API server's. */}}
{{- define "carbonbudget.serverToken" -}}
- name: server-token
  projected:
    sources:
      - serviceAccountToken: {audience: carbonbudget-server, expirationSeconds: 3600, path: token}
{{- end }}

{{- define "carbonbudget.serverURL" -}}
https://carbonbudget-server.{{ .Release.Namespace }}.svc:8443
{{- end }}

{{/* Namespaces that are never judged: a fault of ours must hold neither the cluster's own pods nor those that mend it. */}}
{{- define "carbonbudget.exemptNamespaces" -}}
{{ concat (list "kube-system" .Release.Namespace .Values.agent.namespace) .Values.enforcement.exemptNamespaces | uniq | toJson }}
{{- end }}

{{/* The one settings file of server, controller and webhook. */}}
{{- define "carbonbudget.config" -}}
{{- include "carbonbudget.checkZones" . -}}
cluster: {{ .Values.cluster }}
server:
  {{- if not .Values.server.database.secretName }}
  ledger: sqlite:////var/lib/carbonbudget/ledger.db
  {{- end }}
  listen: 0.0.0.0:8443
  tls_cert: /etc/carbonbudget/tls/tls.crt
  tls_key: /etc/carbonbudget/tls/tls.key
  agent_account: system:serviceaccount:{{ .Values.agent.namespace }}:carbonbudget-agent
  max_node_watts: {{ int .Values.server.maxNodeWatts }}
  pod_days: {{ int .Values.server.podDays }}
  keep_months: {{ int .Values.server.keepMonths }}
  owners: {{- toYaml .Values.server.owners | nindent 4 }}
carbon:
  zone: {{ .Values.carbon.zone | quote }}
  pue: {{ .Values.carbon.pue | default "null" }}
  basis: {{ .Values.carbon.basis }}
  ownership: {{ .Values.carbon.ownership }}
  provider: {{ .Values.carbon.provider | quote }}
  market: {{- toYaml .Values.carbon.market | nindent 4 }}
  embodied: {{- toYaml .Values.carbon.embodied | nindent 4 }}
  intensity: {{- toYaml .Values.carbon.intensity | nindent 4 }}
allocation: {{- toYaml .Values.allocation | nindent 2 }}
controller:
  server_url: {{ include "carbonbudget.serverURL" . }}
  server_ca: /etc/carbonbudget/ca/ca.crt
  server_token_file: /var/run/carbonbudget/token
  window_seconds: {{ int .Values.windowSeconds }}
  fresh_for_seconds: {{ int .Values.controller.freshForSeconds }}
  listen: 0.0.0.0:8080
  namespace: {{ .Release.Namespace }}
  agent_namespace: {{ .Values.agent.namespace }}
  certificates: {{ eq .Values.certificates.mode "Runtime" }}
enforcement:
  mode: {{ .Values.enforcement.mode }}
  kinds: {{- toYaml .Values.enforcement.kinds | nindent 4 }}
  exempt_namespaces: {{ include "carbonbudget.exemptNamespaces" . }}
  annotate: {{ .Values.enforcement.annotate }}
  kueue: {{ .Values.enforcement.kueue | quote }}
  resume_jitter_seconds: {{ int .Values.enforcement.resumeJitterSeconds }}
admission:
  server_url: {{ include "carbonbudget.serverURL" . }}
  server_ca: /etc/carbonbudget/ca/ca.crt
  server_token_file: /var/run/carbonbudget/token
  listen: 0.0.0.0:9443
  metrics_listen: 0.0.0.0:8081
  tls_cert: /etc/carbonbudget/tls/tls.crt
  tls_key: /etc/carbonbudget/tls/tls.key
{{- end }}

{{- /* The agent's affinity; with GPU nodes the two DaemonSets exclude each other, so no node reports twice. */}}
{{- define "carbonbudget.agentAffinity" -}}
{{- $affinity := deepCopy .root.Values.agent.affinity -}}
{{- if .root.Values.agent.gpu.enabled -}}
{{- $wanted := dict "key" .root.Values.agent.gpu.nodeLabel "operator" (ternary "In" "NotIn" .gpu) "values" (list "true") -}}
{{- $node := dig "nodeAffinity" dict $affinity -}}
{{- $required := dig "requiredDuringSchedulingIgnoredDuringExecution" dict $node -}}
{{- $terms := list -}}
{{- range (dig "nodeSelectorTerms" (list dict) $required) -}}
{{- $terms = append $terms (set . "matchExpressions" (append (dig "matchExpressions" list .) $wanted)) -}}
{{- end -}}
{{- $_ := set $required "nodeSelectorTerms" $terms -}}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" $required -}}
{{- $_ := set $affinity "nodeAffinity" $node -}}
{{- end -}}
{{- toYaml $affinity -}}
{{- end }}

{{- define "carbonbudget.labels" -}}
app.kubernetes.io/name: carbonbudget
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The label selector of a workload. It must never change between versions. */}}
{{- define "carbonbudget.selector" -}}
app.kubernetes.io/name: carbonbudget
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/*
Labels and annotations of the pods of `.component`. No label has a version: a changed label restarts every pod, and an
upgrade of the chart would restart all agents. `.of`: the workload's values, with podLabels and podAnnotations; these
replace no annotation of `.annotations`. The schema refuses podLabels that the selectors read. Service meshes are kept out,
unless podLabels or podAnnotations say otherwise (values.yaml, at agent.podLabels, has the reason).
*/}}
{{- define "carbonbudget.podMetadata" -}}
labels:
  app.kubernetes.io/name: carbonbudget
  app.kubernetes.io/instance: {{ .root.Release.Name }}
  {{- with .component }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
  {{- $noMesh := dict "sidecar.istio.io/inject" "false" "istio.io/dataplane-mode" "none" }}
  {{- merge (dict) (.of.podLabels | default dict) $noMesh | toYaml | nindent 2 }}
{{- $noMesh = dict "linkerd.io/inject" "disabled" }}
annotations: {{- merge (dict) (.annotations | default dict) (.of.podAnnotations | default dict) $noMesh | toYaml | nindent 2 }}
{{- end }}

{{/* The annotation by which a pod is replaced when the settings file changes. */}}
{{- define "carbonbudget.configAnnotation" -}}
carbonbudget.dev/config: {{ include "carbonbudget.config" . | sha256sum }}
{{- end }}

{{/* The node selector of a workload, of which the argument is the values: the images are for Linux. */}}
{{- define "carbonbudget.nodeSelector" -}}
{{ merge (dict) (.nodeSelector | default dict) (dict "kubernetes.io/os" "linux") | toYaml }}
{{- end }}

{{/* Where the pods of a workload run: `.of` are its values. With `.spread`, a component, they prefer different nodes. */}}
{{- define "carbonbudget.scheduling" -}}
nodeSelector: {{- include "carbonbudget.nodeSelector" .of | nindent 2 }}
tolerations: {{- toYaml .of.tolerations | nindent 2 }}
{{- with .of.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .of.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .spread }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "carbonbudget.selector" . | nindent 8 }}
{{- end }}
{{- end }}

{{/* Of the pods of `.component`, a drain of nodes ends one at a time. */}}
{{- define "carbonbudget.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: carbonbudget-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "carbonbudget.labels" .root | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "carbonbudget.selector" .component | nindent 6 }}
{{- end }}

{{/* The caBundle of a webhook, where the values have it. Else the controller or cert-manager writes it. */}}
{{- define "carbonbudget.caBundle" -}}
{{- $given := .Values.certificates }}
{{- if and (eq $given.mode "Runtime") (or $given.caBundle $given.webhookAnnotations) }}
{{- fail "certificates.caBundle and certificates.webhookAnnotations need certificates.mode=Provided: with Runtime the controller writes the caBundle of its own CA" }}
{{- end }}
{{- with trim ($given.caBundle | default "") -}}
caBundle: {{ printf "%s\n" . | b64enc }}
{{- end }}
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

{{/* The restricted Pod Security level, for all pods except the agent's. */}}
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

{{/* A token for the audience of carbonbudget's server. The API server does not accept it. */}}
{{- define "carbonbudget.serverToken" -}}
- name: server-token
  projected:
    sources:
      - serviceAccountToken: {audience: carbonbudget-server, expirationSeconds: 3600, path: token}
{{- end }}

{{- define "carbonbudget.serverURL" -}}
https://carbonbudget-server.{{ .Release.Namespace }}.svc:8443
{{- end }}

{{/* Namespaces in which budgets never act. A defect of carbonbudget must not stop the cluster's own pods or those that fix it. */}}
{{- define "carbonbudget.exemptNamespaces" -}}
{{ concat (list "kube-system" .Release.Namespace .Values.agent.namespace) .Values.enforcement.exemptNamespaces | uniq | toJson }}
{{- end }}

{{/* The same for the settings: an entry that ends with * is a prefix. */}}
{{- define "carbonbudget.exemptInSettings" -}}
{{- $all := include "carbonbudget.exemptNamespaces" . | fromJsonArray -}}
{{- range .Values.enforcement.exemptNamespacePrefixes }}{{ $all = append $all (printf "%s*" .) }}{{ end -}}
{{ toJson $all }}
{{- end }}

{{/* The webhook's ports. A port of the kubelet is taken on the node. */}}
{{- define "carbonbudget.admissionPort" -}}
{{- $port := int (.Values.admission.port | default 9443) -}}
{{- $metrics := int (include "carbonbudget.admissionMetricsPort" .) -}}
{{- if eq $port $metrics }}
{{- fail "admission.port and admission.metricsPort are the same: set another one" }}
{{- end }}
{{- if and .Values.admission.hostNetwork (or (eq $port 10250) (eq $metrics 10250)) }}
{{- fail "admission.hostNetwork needs other ports than 10250, which is the kubelet's: set admission.port, for example to 9443" }}
{{- end }}
{{- $port -}}
{{- end }}

{{- define "carbonbudget.admissionMetricsPort" -}}
{{- int (.Values.admission.metricsPort | default 8081) -}}
{{- end }}

{{/* The settings file of all processes, without the version that writes it: another version alone restarts no pod. */}}
{{- define "carbonbudget.config" -}}
{{- include "carbonbudget.checkZones" . -}}
{{- include "carbonbudget.checkPrice" . -}}
cluster: {{ .Values.cluster }}
server:
  {{- if not .Values.server.database.secretName }}
  ledger: sqlite:////var/lib/carbonbudget/ledger.db
  {{- end }}
  listen: ":8443"
  tls_cert: /etc/carbonbudget/tls/tls.crt
  tls_key: /etc/carbonbudget/tls/tls.key
  {{- if and .Values.web.enabled .Values.web.trustedProxy.caConfigMap }}
  request_header_ca: /etc/carbonbudget/ca/ca.crt
  request_header_names: [carbonbudget-web.{{ .Release.Namespace }}.svc]
  {{- end }}
  agent_account: system:serviceaccount:{{ .Values.agent.namespace }}:carbonbudget-agent
  operator_accounts:
    - system:serviceaccount:{{ .Release.Namespace }}:carbonbudget-controller
    - system:serviceaccount:{{ .Release.Namespace }}:carbonbudget-admission
  questions:
    workers: {{ int .Values.server.questions.workers }}
    at_once_each: {{ int .Values.server.questions.atOnceEach }}
    waiting: {{ int .Values.server.questions.waiting }}
    wait_seconds: {{ int .Values.server.questions.waitSeconds }}
    seconds: {{ int .Values.server.questions.seconds }}
    report_seconds: {{ int .Values.server.questions.reportSeconds }}
    memory_mib: {{ int .Values.server.questions.memoryMiB }}
    idle_seconds: {{ int .Values.server.questions.idleSeconds }}
  {{- with .Values.server.spans }}
  spans:
    window_days: {{ int .windowDays }}
    result_days: {{ int .resultDays }}
    pods_per_namespace: {{ int .podsPerNamespace }}
    records_per_day: {{ int .recordsPerDay }}
    requests_per_minute: {{ int .requestsPerMinute }}
    namespace_requests_per_minute: {{ int .namespaceRequestsPerMinute }}
  {{- end }}
  max_node_watts: {{ int .Values.server.maxNodeWatts }}
  pod_days: {{ int .Values.server.podDays }}
  keep_months: {{ int .Values.server.keepMonths }}
  metric_labels: {{ toJson .Values.server.metricLabels }}
  metric_values: {{ int .Values.server.metricValues }}
  user_tokens: {{ .Values.server.userTokens }}
  owners: {{- toYaml .Values.server.owners | nindent 4 }}
  nodes_without_agent: {{- toYaml (.Values.agent.nodesWithoutAgent | default dict) | nindent 4 }}
carbon:
  zone: {{ toJson .Values.carbon.zone }}
  pue: {{ kindIs "string" .Values.carbon.pue | ternary .Values.carbon.pue (toJson .Values.carbon.pue) }}
  basis: {{ .Values.carbon.basis }}
  ownership: {{ toJson .Values.carbon.ownership }}
  provider: {{ toJson .Values.carbon.provider }}
  market: {{- toYaml .Values.carbon.market | nindent 4 }}
  embodied: {{- toYaml .Values.carbon.embodied | nindent 4 }}
  intensity: {{- toYaml .Values.carbon.intensity | nindent 4 }}
  price: {{ toJson .Values.carbon.price }}
  tariff: {{ toJson .Values.carbon.tariff }}
  currency: {{ .Values.carbon.currency | quote }}
allocation: {{- toYaml .Values.allocation | nindent 2 }}
reports:
  required_labels: {{ toJson .Values.reports.requiredLabels }}
controller:
  server_url: {{ include "carbonbudget.serverURL" . }}
  server_ca: /etc/carbonbudget/ca/ca.crt
  server_token_file: /var/run/carbonbudget/token
  window_seconds: {{ int .Values.windowSeconds }}
  fresh_for_seconds: {{ int .Values.controller.freshForSeconds }}
  listen: ":8080"
  namespace: {{ .Release.Namespace }}
  agent_namespace: {{ .Values.agent.namespace }}
  certificates: {{ eq .Values.certificates.mode "Runtime" }}
  web_certificate: {{ .Values.web.enabled }}
enforcement:
  mode: {{ .Values.enforcement.mode }}
  kinds: {{- toYaml .Values.enforcement.kinds | nindent 4 }}
  exempt_namespaces: {{ include "carbonbudget.exemptInSettings" . }}
  annotate: {{ .Values.enforcement.annotate }}
  kueue: {{ .Values.enforcement.kueue | quote }}
  resume_jitter_seconds: {{ int .Values.enforcement.resumeJitterSeconds }}
  deferral: {{ .Values.enforcement.deferral }}
exports: {{ .Values.exports | default list | toJson }}
units: {{ .Values.units | default dict | toJson }}
admission:
  server_url: {{ include "carbonbudget.serverURL" . }}
  server_ca: /etc/carbonbudget/ca/ca.crt
  server_token_file: /var/run/carbonbudget/token
  listen: ":{{ include "carbonbudget.admissionPort" . }}"
  metrics_listen: ":{{ include "carbonbudget.admissionMetricsPort" . }}"
  tls_cert: /etc/carbonbudget/tls/tls.crt
  tls_key: /etc/carbonbudget/tls/tls.key
  {{- if eq (include "carbonbudget.injector" .) "webhook" }}
  track_pods: true
  {{- end }}
{{- if .Values.web.enabled }}
web:
  server_url: {{ include "carbonbudget.serverURL" . }}
  server_ca: /etc/carbonbudget/ca/ca.crt
  listen: ":8443"
  metrics_listen: ":8082"
  tls_cert: /etc/carbonbudget/tls/tls.crt
  tls_key: /etc/carbonbudget/tls/tls.key
  hosts: {{ toJson (concat (list "localhost" "127.0.0.1" "[::1]" (printf "carbonbudget-web.%s.svc" .Release.Namespace)) .Values.web.hosts | uniq) }}
  {{- if .Values.web.cookieKeysSecret }}
  cookie_keys: /etc/carbonbudget/cookie/keys
  {{- end }}
  {{- with .Values.web.trustedProxy }}
  {{- if .caConfigMap }}
  proxy_ca: /etc/carbonbudget/proxy-ca/ca.crt
  proxy_names: {{ toJson .names }}
  proxy_user_header: {{ .userHeader }}
  proxy_groups_header: {{ .groupsHeader }}
  client_cert: /etc/carbonbudget/tls/tls.crt
  client_key: /etc/carbonbudget/tls/tls.key
  {{- end }}
  {{- end }}
  session_seconds: {{ mul 3600 (int .Values.web.sessionHours) }}
  failed_sign_ins: {{ int .Values.web.failedSignIns }}
  failed_sign_ins_each: {{ int .Values.web.failedSignInsEach }}
{{- end }}
{{- end }}

{{- /* The affinity of the agent. It excludes the nodes of nodesWithoutAgent. With GPU nodes the two DaemonSets exclude
each other, so that no node reports twice. */}}
{{- define "carbonbudget.agentAffinity" -}}
{{- $affinity := deepCopy .root.Values.agent.affinity -}}
{{- $wanted := list -}}
{{- range $label, $values := .root.Values.agent.nodesWithoutAgent -}}
{{- if $values -}}
{{- $wanted = append $wanted (dict "key" $label "operator" "NotIn" "values" $values) -}}
{{- else -}}
{{- $wanted = append $wanted (dict "key" $label "operator" "DoesNotExist") -}}
{{- end -}}
{{- end -}}
{{- if .root.Values.agent.gpu.enabled -}}
{{- $label := dict "key" .root.Values.agent.gpu.nodeLabel -}}
{{- $value := dig "nodeLabelValue" "true" .root.Values.agent.gpu -}}
{{- if $value -}}
{{- $wanted = append $wanted (merge $label (dict "operator" (ternary "In" "NotIn" .gpu) "values" (list $value))) -}}
{{- else -}}
{{- $wanted = append $wanted (merge $label (dict "operator" (ternary "Exists" "DoesNotExist" .gpu))) -}}
{{- end -}}
{{- end -}}
{{- if $wanted -}}
{{- $node := dig "nodeAffinity" dict $affinity -}}
{{- $required := dig "requiredDuringSchedulingIgnoredDuringExecution" dict $node -}}
{{- $terms := list -}}
{{- range (dig "nodeSelectorTerms" (list dict) $required) -}}
{{- $terms = append $terms (set . "matchExpressions" (concat (dig "matchExpressions" list .) $wanted)) -}}
{{- end -}}
{{- $_ := set $required "nodeSelectorTerms" $terms -}}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" $required -}}
{{- $_ := set $affinity "nodeAffinity" $node -}}
{{- end -}}
{{- toYaml $affinity -}}
{{- end }}

{{/* Whether the cluster has Kueue's API. `helm template` knows only the APIs that --api-versions names. */}}
{{- define "carbonbudget.hasKueue" -}}
{{- range .Capabilities.APIVersions }}{{ if hasPrefix "kueue.x-k8s.io/" . }}true{{ break }}{{ end }}{{ end }}
{{- end }}

{{/* Hook annotations of the right to Workloads: at an uninstall and, if the argument is true, after an upgrade that switches Kueue off. */}}
{{- define "carbonbudget.releaseWorkloadsHook" -}}
helm.sh/hook: pre-delete{{ if . }},post-upgrade,post-rollback{{ end }}
helm.sh/hook-weight: "-5"
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end }}

{{/* A Job that runs `carbonbudget release` with .args as a hook for .events. */}}
{{- define "carbonbudget.releaseJob" -}}
{{- $labels := include "carbonbudget.labels" .root }}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- $labels | nindent 4 }}
  annotations:
    helm.sh/hook: {{ .events }}
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  backoffLimit: 2
  activeDeadlineSeconds: 180 # limits how long helm waits for it
  template:
    metadata: {{- include "carbonbudget.podMetadata" (dict "root" .root "of" .root.Values.controller) | nindent 6 }}
    spec:
      serviceAccountName: carbonbudget-release
      restartPolicy: Never
      enableServiceLinks: false
      {{- include "carbonbudget.pullSecrets" .root | nindent 6 }}
      securityContext: {{- include "carbonbudget.podSecurity" .root | nindent 8 }}
      {{- include "carbonbudget.scheduling" (dict "of" .root.Values.controller) | nindent 6 }}
      containers:
        - name: release
          image: {{ include "carbonbudget.image" (dict "image" .root.Values.images.operator "root" .root) }}
          imagePullPolicy: {{ .root.Values.images.operator.pullPolicy }}
          args:
            - release
            {{- range .args }}
            - {{ . }}
            {{- end }}
            - --timeout=90
          securityContext: {{- include "carbonbudget.containerSecurity" .root | nindent 12 }}
          resources: {{- toYaml .root.Values.controller.resources | nindent 12 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: 16Mi}
{{- end }}

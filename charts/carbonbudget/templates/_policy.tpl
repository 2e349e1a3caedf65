{{/*
CEL that the policies share. `object.?a.?b` is an optional field: no error where a is missing, and with
failurePolicy Ignore an error would admit without a word.
*/}}

{{/* Namespaces that are never judged, for policies and webhook; the controller has the same list in its settings. */}}
{{- define "carbonbudget.judgedNamespaces" -}}
matchExpressions:
  - {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ include "carbonbudget.exemptNamespaces" . }}}
  - {key: carbonbudget.dev/enforcement, operator: NotIn, values: ["off"]}
{{- end }}

{{/* What may be judged, by `operations`, `scale` for the scale subresources too. */}}
{{- define "carbonbudget.judgedResources" -}}
{{- $root := .root -}}
{{- $operations := toJson .operations -}}
- {apiGroups: [batch], apiVersions: [v1], operations: {{ $operations }}, resources: [jobs], scope: Namespaced}
{{- if .pods }}
- {apiGroups: [""], apiVersions: [v1], operations: {{ $operations }}, resources: [pods], scope: Namespaced}
{{- end }}
- apiGroups: [apps]
  apiVersions: [v1]
  operations: {{ $operations }}
  resources: [deployments, statefulsets, daemonsets, replicasets]
  scope: Namespaced
{{- range $root.Values.enforcement.kinds }}
- apiGroups: [{{ .group | quote }}]
  apiVersions: [{{ .version | quote }}]
  operations: {{ $operations }}
  resources: [{{ .resource }}]
  scope: Namespaced
{{- end }}
{{- end }}

{{/*
What a controller makes counts as its owner's, which was judged, or deliberately not: pods and ReplicaSets, if the
maker is a controller of kube-system or one that enforcement.controllerAccounts names. ownerReferences alone can be
forged. A Job that a CronJob makes is judged itself.
*/}}
{{- define "carbonbudget.madeByController" -}}
object.metadata.?ownerReferences.orValue([]).exists(o, o.?controller.orValue(false)) && (
  (request.resource.resource in ['pods', 'replicasets'] &&
   (request.userInfo.username.matches('^system:serviceaccount:kube-system:[a-z-]+-controller$') ||
    request.userInfo.username == 'system:kube-controller-manager')) ||
  request.userInfo.username in {{ toJson .Values.enforcement.controllerAccounts }})
{{- end }}

{{/* Whether the requester may exempt workloads of the namespace. */}}
{{- define "carbonbudget.mayExempt" -}}
authorizer.group('carbonbudget.dev').resource('carbonbudgets').namespace(request.namespace).check('exempt').allowed()
{{- end }}

{{/* A Job of a CronJob is labelled by its template, whose label was guarded when the CronJob was written. */}}
{{- define "carbonbudget.madeByCronJob" -}}
request.userInfo.username in ['system:serviceaccount:kube-system:cronjob-controller', 'system:kube-controller-manager']
{{- end }}

{{- define "carbonbudget.judgedConditions" -}}
- name: not-made-by-a-controller
  expression: >-
    !({{ include "carbonbudget.madeByController" . | nindent 4 | trim }})
# A kubelet's image of a static pod: refusing the image does not stop the pod.
- name: not-a-mirror-pod
  expression: >-
    request.resource.resource != 'pods' || !request.userInfo.username.startsWith('system:node:') ||
    !('kubernetes.io/config.mirror' in object.metadata.?annotations.orValue({}))
- name: not-exempt
  expression: >-
    object.metadata.?labels[?'carbonbudget.dev/exempt'].orValue('') != 'true' ||
    !({{ include "carbonbudget.madeByCronJob" . }} ||
      {{ include "carbonbudget.mayExempt" . }})
{{- end }}

{{/* Whether a label selector (`.selector`, CEL) selects labels (`.labels`, CEL), by the rules of Kubernetes' own. */}}
{{- define "carbonbudget.selects" -}}
{{ .selector }}.?matchLabels.orValue({}).all(k,
  k in {{ .labels }} && {{ .labels }}[k] == {{ .selector }}.matchLabels[k]) &&
{{ .selector }}.?matchExpressions.orValue([]).all(e,
  e.operator == 'In' ? (e.key in {{ .labels }} && {{ .labels }}[e.key] in e.values) :
  e.operator == 'NotIn' ? !(e.key in {{ .labels }} && {{ .labels }}[e.key] in e.values) :
  e.operator == 'Exists' ? e.key in {{ .labels }} : !(e.key in {{ .labels }}))
{{- end }}

{{/* The labels that count are those that the pods will have. */}}
{{- define "carbonbudget.podLabels" -}}
request.resource.resource == 'pods' ? object.metadata.?labels.orValue({}) :
{{- range .Values.enforcement.kinds }}
request.kind.group == {{ .group | squote }} && request.kind.kind == {{ .kind | squote }} ?
  object.?{{ .template | replace "." ".?" }}.?metadata.?labels.orValue({}) :
{{- end }}
object.?spec.?template.?metadata.?labels.orValue({})
{{- end }}

{{/* The policy over one kind of budget, without its name: variables and the one validation. */}}
{{- define "carbonbudget.judgement" -}}
variables:
  - name: labels
    expression: >-
      {{- include "carbonbudget.podLabels" .root | nindent 6 }}
  # A run's own budget (per: Workload) never stands in another's way.
  - name: judged
    expression: >-
      request.kind.kind in params.spec.?enforce.?kinds.orValue(['Job', 'Pod']) &&
      params.spec.?per.orValue('Selection') != 'Workload'
  - name: selected
    expression: >-
      !has(params.spec.selector) || (
      {{- include "carbonbudget.selects" (dict "selector" "params.spec.selector" "labels" "variables.labels") | nindent 6 }})
  {{- if .namespaces }}
  - name: namespaceLabels
    expression: "namespaceObject.metadata.?labels.orValue({})"
  - name: covered
    expression: >-
      !has(params.spec.namespaceSelector) || (
      {{- include "carbonbudget.selects" (dict "selector" "params.spec.namespaceSelector" "labels" "variables.namespaceLabels") | nindent 6 }})
  {{- end }}
  # On CREATE the API server has just set creationTimestamp: it is now, and nobody can forge it.
  - name: blocking
    expression: >-
      has(params.status) && has(params.status.enforcement) &&
      timestamp(object.metadata.creationTimestamp) < timestamp(params.status.enforcement.until)
validations:
  - expression: "!(variables.blocking && variables.judged {{ if .namespaces }}&& variables.covered {{ end }}&& variables.selected)"
    reason: Forbidden
    messageExpression: >-
      params.?status.?message.orValue('carbon budget ' + string(params.metadata.name) + ' is exceeded') +
      '; see: kubectl {{ if not .namespaces }}-n ' + string(params.metadata.namespace) + ' {{ end }}describe {{ .kind }} ' +
      string(params.metadata.name)
{{- end }}

{{/* The accounts that suspend and resume, in CEL. */}}
{{- define "carbonbudget.ourAccounts" -}}
request.userInfo.username in ['system:serviceaccount:{{ .Release.Namespace }}:carbonbudget-controller',
  'system:serviceaccount:{{ .Release.Namespace }}:carbonbudget-release']
{{- end }}

{{/* What both webhooks have in common. Nothing may wait or fail for them. */}}
{{- define "carbonbudget.webhook" -}}
clientConfig:
  service: {name: carbonbudget-admission, namespace: {{ .Release.Namespace }}, path: /validate, port: 443}
failurePolicy: Ignore
timeoutSeconds: {{ int .Values.admission.timeoutSeconds }}
sideEffects: NoneOnDryRun # Events of refusals and warnings
admissionReviewVersions: [v1]
namespaceSelector: {{- include "carbonbudget.judgedNamespaces" . | nindent 2 }}
{{- end }}

{{/* Growth, in CEL: more replicas (also a Scale's), a Job that starts or runs more pods at a time. */}}
{{- define "carbonbudget.grows" -}}
request.kind.group == 'batch' && request.kind.kind == 'Job'
? (!object.?spec.?suspend.orValue(false) &&
   (oldObject.?spec.?suspend.orValue(false) ||
    object.?spec.?parallelism.orValue(1) > oldObject.?spec.?parallelism.orValue(1)))
{{- range .Values.enforcement.kinds }}
: request.kind.group == {{ .group | squote }} && request.kind.kind == {{ .kind | squote }}
? {{ if .replicas }}object.?{{ .replicas | replace "." ".?" }}.orValue(1) > oldObject.?{{ .replicas | replace "." ".?" }}.orValue(1){{ else }}false{{ end }}
{{- end }}
: object.?spec.?replicas.orValue(1) > oldObject.?spec.?replicas.orValue(1) && oldObject.?spec.?replicas.orValue(1) > 0
{{- end }}

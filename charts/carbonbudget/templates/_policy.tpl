{{/*
CEL expressions that the admission policies and the webhook configuration share. `object.?a.?b` reads an optional field.
Without `?` a missing field is an error, and with failurePolicy Ignore an error admits the request without a message.
*/}}

{{/* Whether the controller of `object` is of a kind whose pod template carbonbudget-exempt checks when it is written. */}}
{{- define "carbonbudget.ownedByGuarded" -}}
object.metadata.?ownerReferences.orValue([]).exists(o, o.?controller.orValue(false) && (
{{- range .Values.enforcement.kinds }}
  (o.kind == {{ .kind | squote }} && o.apiVersion.startsWith('{{ .group }}/')) ||
{{- end }}
  (o.apiVersion in ['apps/v1', 'v1', 'batch/v1'] && o.kind in
    ['Job', 'CronJob', 'Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'ReplicationController'])))
{{- end }}

{{/* Excludes the namespaces in which budgets never act, for policies and webhook. The controller has the same list in its settings. */}}
{{- define "carbonbudget.enforcedNamespaces" -}}
matchExpressions:
  - {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ include "carbonbudget.exemptNamespaces" . }}}
  - {key: carbonbudget.dev/enforcement, operator: NotIn, values: ["off"]}
{{- end }}

{{/*
Excludes the namespaces of the platform by the beginning of their names, which a label selector cannot. carbonbudget's
commands read the prefixes from this expression (operator/carbonbudget_operator/cli/installed_enforcement.py).
*/}}
{{- define "carbonbudget.notReserved" -}}
{{- with .Values.enforcement.exemptNamespacePrefixes }}
- name: not-in-a-reserved-namespace
  expression: >-
    !['{{ join "', '" . }}'].exists(prefix, request.namespace.startsWith(prefix))
{{- end }}
{{- end }}

{{/* Rules for the enforced kinds that have a pod template, except Jobs, with the given `operations`. */}}
{{- define "carbonbudget.templatedResources" -}}
{{- $operations := toJson .operations -}}
- {apiGroups: [""], apiVersions: [v1], operations: {{ $operations }}, resources: [replicationcontrollers], scope: Namespaced}
- apiGroups: [apps]
  apiVersions: [v1]
  operations: {{ $operations }}
  resources: [deployments, statefulsets, daemonsets, replicasets]
  scope: Namespaced
{{- range .root.Values.enforcement.kinds }}
- apiGroups: [{{ .group | quote }}]
  apiVersions: [{{ .version | quote }}]
  operations: {{ $operations }}
  resources: [{{ .resource }}]
  scope: Namespaced
{{- end }}
{{- end }}

{{/* Rules for all enforced kinds, with the given `operations`. */}}
{{- define "carbonbudget.enforcedResources" -}}
- {apiGroups: [batch], apiVersions: [v1], operations: {{ toJson .operations }}, resources: [jobs], scope: Namespaced}
- {apiGroups: [""], apiVersions: [v1], operations: {{ toJson .operations }}, resources: [pods], scope: Namespaced}
{{ include "carbonbudget.templatedResources" . }}
{{- end }}

{{/* Rules for CronJobs. Their Jobs are checked, not they; but their templates set labels on Jobs and pods. */}}
{{- define "carbonbudget.cronjobs" -}}
- {apiGroups: [batch], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [cronjobs], scope: Namespaced}
{{- end }}

{{/* Whether `.object` (CEL) has an ownerReference with controller: true. */}}
{{- define "carbonbudget.controlled" -}}
{{ .object }}.?metadata.?ownerReferences.orValue([]).exists(o, o.?controller.orValue(false))
{{- end }}

{{/* Whether the requester is a controller of Kubernetes. The garbage collector is one, because orphaning pods is not new work. */}}
{{- define "carbonbudget.kubernetesControllers" -}}
(request.userInfo.username.matches('^system:serviceaccount:kube-system:([a-z-]+-controller|generic-garbage-collector)$') ||
 request.userInfo.username == 'system:kube-controller-manager')
{{- end }}

{{/*
Whether a controller creates or changes the object for an owner. Such objects are not checked, because the owner was
checked (or no budget names its kind). The account must be in enforcement.controllerAccounts or, for pods and ReplicaSets,
be a controller of kube-system: anybody can write an ownerReference. Jobs that a CronJob creates are checked themselves.
The old object counts too, because a controller may release a pod by removing its ownerReference.
*/}}
{{- define "carbonbudget.madeByController" -}}
(request.userInfo.username in {{ toJson .Values.enforcement.controllerAccounts }} ||
 (request.resource.resource in ['pods', 'replicasets'] && {{ include "carbonbudget.kubernetesControllers" . | nindent 2 | trim }})) &&
({{ include "carbonbudget.controlled" (dict "object" "object") }} ||
 {{ include "carbonbudget.controlled" (dict "object" "oldObject") }})
{{- end }}

{{/* Whether a service account outside kube-system creates an object with a controller. It may be a controller or a forgery. */}}
{{- define "carbonbudget.madeByAnotherAccount" -}}
(request.userInfo.username.startsWith('system:serviceaccount:') &&
 !request.userInfo.username.startsWith('system:serviceaccount:kube-system:') &&
 {{ include "carbonbudget.controlled" (dict "object" "object") }})
{{- end }}

{{/* Whether the requester has the verb `exempt` on carbonbudgets in the namespace. */}}
{{- define "carbonbudget.mayExempt" -}}
authorizer.group('carbonbudget.dev').resource('carbonbudgets').namespace(request.namespace).check('exempt').allowed()
{{- end }}

{{/* Whether the CronJob controller creates the Job. The labels of its template were checked when the CronJob was written. */}}
{{- define "carbonbudget.madeByCronJob" -}}
request.userInfo.username in ['system:serviceaccount:kube-system:cronjob-controller', 'system:kube-controller-manager']
{{- end }}

{{/* Match conditions that exclude what budgets never act on. */}}
{{- define "carbonbudget.exceptions" -}}
{{- include "carbonbudget.notReserved" . }}
- name: not-made-by-a-controller
  expression: >-
    !({{ include "carbonbudget.madeByController" . | nindent 4 | trim }})
# The mirror pod of a static pod. Refusing it would not stop the static pod.
- name: not-a-mirror-pod
  expression: >-
    request.resource.resource != 'pods' || !request.userInfo.username.startsWith('system:node:') ||
    !('kubernetes.io/config.mirror' in object.?metadata.?annotations.orValue({}))
# The label counts if the requester has the verb `exempt`, or if the object had the label before. For pods the second
# rule does not apply: a pod may have the label from the template of a Job, which is not checked for the verb. A deletion
# has only the old object.
- name: not-exempt
  expression: >-
    (object == null ? oldObject : object).?metadata.?labels[?'carbonbudget.dev/exempt'].orValue('') != 'true' ||
    !((request.resource.resource != 'pods' &&
       oldObject.?metadata.?labels[?'carbonbudget.dev/exempt'].orValue('') == 'true') ||
      {{ include "carbonbudget.madeByCronJob" . }} ||
      {{ include "carbonbudget.mayExempt" . }})
{{- end }}

{{/* Whether a label selector (`.selector`, CEL) selects labels (`.labels`, CEL), by the rules of Kubernetes. */}}
{{- define "carbonbudget.selects" -}}
{{ .selector }}.?matchLabels.orValue({}).all(k,
  k in {{ .labels }} && {{ .labels }}[k] == {{ .selector }}.matchLabels[k]) &&
{{ .selector }}.?matchExpressions.orValue([]).all(e,
  e.operator == 'In' ? (e.key in {{ .labels }} && {{ .labels }}[e.key] in e.values) :
  e.operator == 'NotIn' ? !(e.key in {{ .labels }} && {{ .labels }}[e.key] in e.values) :
  e.operator == 'Exists' ? e.key in {{ .labels }} : !(e.key in {{ .labels }}))
{{- end }}

{{/* The labels that the pods of `.object` (CEL: object or oldObject) will have. Budgets select by these. */}}
{{- define "carbonbudget.podLabels" -}}
{{- $object := .object -}}
request.resource.resource == 'pods' ? {{ $object }}.metadata.?labels.orValue({}) :
{{- range .root.Values.enforcement.kinds }}
request.kind.group == {{ .group | squote }} && request.kind.kind == {{ .kind | squote }} ?
  {{ $object }}.?{{ .template | replace "." ".?" }}.?metadata.?labels.orValue({}) :
{{- end }}
{{ $object }}.?spec.?template.?metadata.?labels.orValue({})
{{- end }}

{{/* Variables and validation of the policy for one kind of budget. */}}
{{- define "carbonbudget.budgetRules" -}}
variables:
  - name: labels
    expression: >-
      {{- include "carbonbudget.podLabels" (dict "root" .root "object" "object") | nindent 6 }}
  - name: labelsBefore
    expression: >-
      {{- include "carbonbudget.podLabels" (dict "root" .root "object" "oldObject") | nindent 6 }}
  - name: kinds
    expression: "params.spec.?enforce.?kinds.orValue(['Job', 'Pod'])"
  - name: selected
    expression: >-
      !has(params.spec.selector) || (
      {{- include "carbonbudget.selects" (dict "selector" "params.spec.selector" "labels" "variables.labels") | nindent 6 }})
  - name: selectedBefore
    expression: >-
      !has(params.spec.selector) || (
      {{- include "carbonbudget.selects" (dict "selector" "params.spec.selector" "labels" "variables.labelsBefore") | nindent 6 }})
  # New work, or an update whose pod labels bring running work into the budget.
  - name: enters
    expression: >-
      request.kind.kind in variables.kinds && variables.selected &&
      (request.operation == 'CREATE' || !variables.selectedBefore)
  # Controllers of the old object that will replace it: those of the budget's kinds, and ReplicaSets of Deployments.
  # A StatefulSet is not among them: its pod keeps its name, so no second one can exist.
  - name: replacers
    expression: >-
      oldObject == null ? [] : oldObject.metadata.?ownerReferences.orValue([]).filter(o, o.?controller.orValue(false) &&
        (o.kind in variables.kinds || (o.kind == 'ReplicaSet' && 'Deployment' in variables.kinds)) && (
        {{- range .root.Values.enforcement.kinds }}
        (o.kind == {{ .kind | squote }} && o.apiVersion.startsWith('{{ .group }}/')) ||
        {{- end }}
        (o.apiVersion in ['apps/v1', 'v1', 'batch/v1'] &&
         o.kind in ['Deployment', 'ReplicaSet', 'ReplicationController', 'DaemonSet', 'Job'])))
  # An update that removes a pod or ReplicaSet from its controller. The pod continues to run and the controller creates
  # another. The controller's selector is not in the object, so a change of any label counts.
  - name: leavesController
    expression: >-
      request.operation == 'UPDATE' && variables.replacers.exists(o,
        object.metadata.?labels.orValue({}) != oldObject.metadata.?labels.orValue({}) ||
        !object.metadata.?ownerReferences.orValue([]).exists(n, n.?controller.orValue(false) && n.uid == o.uid)) &&
      !({{ include "carbonbudget.ourAccounts" .root | nindent 6 | trim }}) && variables.selectedBefore
  # The requester is a person or tool, not a part of Kubernetes. Garbage collection, preemption and evictions stay allowed.
  - name: byATenant
    expression: >-
      request.userInfo.username.startsWith('system:serviceaccount:') ?
      !request.userInfo.username.startsWith('system:serviceaccount:kube-system:') :
      !request.userInfo.username.startsWith('system:')
  # A deletion of a ReplicaSet that leaves its pods running, while its Deployment creates others.
  - name: orphansItsPods
    expression: >-
      request.operation == 'DELETE' && request.resource.resource != 'pods' && size(variables.replacers) > 0 &&
      (has(request.options.propagationPolicy) ? request.options.propagationPolicy == 'Orphan' :
       has(request.options.orphanDependents) ? request.options.orphanDependents :
       'orphan' in oldObject.metadata.?finalizers.orValue([])) && variables.byATenant && variables.selectedBefore
  # A deletion or eviction with a long grace period: the pod continues to run while its replacement runs already. The
  # cluster autoscaler allows at most 600 s. Only a requester who may evict in all namespaces may leave the period open.
  - name: endsLate
    expression: >-
      request.operation == 'DELETE' ?
      request.resource.resource == 'pods' && size(variables.replacers) > 0 &&
      (has(request.options.gracePeriodSeconds) ? request.options.gracePeriodSeconds :
       oldObject.spec.?terminationGracePeriodSeconds.orValue(30)) > 600 &&
      !(oldObject.?status.?phase.orValue('') in ['Succeeded', 'Failed']) && variables.byATenant && variables.selectedBefore :
      request.?subResource.orValue('') == 'eviction' &&
      ['Job', 'ReplicaSet', 'ReplicationController', 'Deployment'].exists(k, k in variables.kinds) &&
      object.?deleteOptions.?gracePeriodSeconds.orValue(601) > 600 && variables.byATenant &&
      !authorizer.group('').resource('pods').subresource('eviction').check('create').allowed()
  {{- if .namespaces }}
  - name: namespaceLabels
    expression: "namespaceObject.metadata.?labels.orValue({})"
  - name: covered
    expression: >-
      !has(params.spec.namespaceSelector) || (
      {{- include "carbonbudget.selects" (dict "selector" "params.spec.namespaceSelector" "labels" "variables.namespaceLabels") | nindent 6 }})
  {{- end }}
  # Whether the budget blocks. CEL has no clock, so creationTimestamp is compared with `until`. On CREATE the API server
  # has just set it, so it is the present time and cannot be forged. On UPDATE only an object that was created after
  # `until` shows that `until` has passed. A budget with per: Workload limits its own runs only.
  - name: blocking
    expression: >-
      params.spec.?per.orValue('Selection') != 'Workload' &&
      has(params.status) && has(params.status.enforcement) &&
      (request.?subResource.orValue('') == 'eviction' || timestamp((object == null ? oldObject : object).metadata.creationTimestamp) <
       timestamp(params.status.enforcement.until))
validations:
  - expression: "!(variables.blocking {{ if .namespaces }}&& variables.covered {{ end }}&& ((request.operation in ['CREATE', 'UPDATE'] && request.?subResource.orValue('') == '' && variables.enters) || variables.leavesController || variables.orphansItsPods || variables.endsLate))"
    reason: Forbidden
    messageExpression: >-
      params.?status.?message.orValue('carbon budget ' + string(params.metadata.name) + ' is exceeded') +
      (variables.leavesController ? ' (until then the labels and the controller of this ' +
        (request.resource.resource == 'pods' ? 'pod' : 'object') +
        ' cannot be changed, because its controller would replace it)' : '') +
      (variables.orphansItsPods ? ' (its controller would create another: delete it without --cascade=orphan)' : '') +
      (request.?subResource.orValue('') == 'eviction' ? ' (evict with deleteOptions.gracePeriodSeconds of 600 or less)' :
       request.operation == 'DELETE' && request.resource.resource == 'pods' ?
       ' (its controller creates another at once: delete it with --grace-period=600 or less)' : '') +
      (request.operation == 'CREATE' && {{ include "carbonbudget.madeByAnotherAccount" . | nindent 7 | trim }} ?
        ' (if ' + request.userInfo.username + ' is a controller, name it in enforcement.controllerAccounts)' : '') +
      '; see: kubectl {{ if not .namespaces }}-n ' + string(params.metadata.namespace) + ' {{ end }}describe {{ .kind }} ' +
      string(params.metadata.name)
{{- end }}

{{/*
Whether the label `.label` is set to "true" on the object or in one of its templates: the pod template, a CronJob's Job
template and its pod template, or the pod template of a configured kind. Controllers copy labels from templates.
*/}}
{{- define "carbonbudget.newlyLabelled" -}}
{{- $label := .label -}}
{{- $places := list "?metadata" "?spec.?template.?metadata" "?spec.?jobTemplate.?metadata" "?spec.?jobTemplate.?spec.?template.?metadata" -}}
{{- range .root.Values.enforcement.kinds }}
{{- $places = append $places (printf "?%s.?metadata" (.template | replace "." ".?")) }}
{{- end -}}
{{- range $index, $place := uniq $places }}
{{- if $index }} ||{{ end }}
(object.{{ $place }}.?labels[?'{{ $label }}'].orValue('') == 'true' &&
 oldObject.{{ $place }}.?labels[?'{{ $label }}'].orValue('') != 'true')
{{- end }}
{{- end }}

{{/* Whether the requester is an account of carbonbudget that suspends and resumes workloads. */}}
{{- define "carbonbudget.ourAccounts" -}}
request.userInfo.username in ['system:serviceaccount:{{ .Release.Namespace }}:carbonbudget-controller',
  'system:serviceaccount:{{ .Release.Namespace }}:carbonbudget-release']
{{- end }}

{{/* Fields that all webhooks have. No request may fail, or wait longer than the timeout, because of them. */}}
{{- define "carbonbudget.webhook" -}}
clientConfig:
  service: {name: carbonbudget-admission, namespace: {{ .Release.Namespace }}, path: /validate, port: 443}
  {{- include "carbonbudget.caBundle" . | nindent 2 }}
failurePolicy: Ignore
timeoutSeconds: {{ int .Values.admission.timeoutSeconds }}
sideEffects: NoneOnDryRun # it creates Events for refusals and warnings
admissionReviewVersions: [v1]
namespaceSelector: {{- include "carbonbudget.enforcedNamespaces" . | nindent 2 }}
{{- end }}

{{/* The number of pods of the Job `.object` (CEL) that run at a time. completions of an Indexed Job can be raised. */}}
{{- define "carbonbudget.atOnce" -}}
[{{ .object }}.?spec.?parallelism.orValue(1),
 {{ .object }}.?spec.?completions.orValue({{ .object }}.?spec.?parallelism.orValue(1))].min()
{{- end }}

{{/* The required node affinity of the pod template of `.object` (CEL). */}}
{{- define "carbonbudget.nodeAffinity" -}}
{{ .object }}.?spec.?template.?spec.?affinity.?nodeAffinity.?requiredDuringSchedulingIgnoredDuringExecution
{{- end }}

{{/*
Whether an update lets more pods run (growth), in CEL. These updates are growth:
- a pod loses its last scheduling gate;
- a Job is resumed or runs more pods at a time (a Job that carbonbudget suspended may be resumed unchanged: the budget's
  condition EnforcementConflict reports it);
- a DaemonSet may run on more nodes;
- an object or its Scale gets more replicas;
- a ReplicationController selects other pods;
- a StatefulSet gets other ordinals, because a pod that left it continues to run under the old name;
- a rollout of a Deployment whose previous pods may take more than 600 s to end.
*/}}
{{- define "carbonbudget.grows" -}}
request.kind.group == '' && request.kind.kind == 'Pod'
? size(oldObject.?spec.?schedulingGates.orValue([])) > 0 && size(object.?spec.?schedulingGates.orValue([])) == 0
: request.kind.group == 'batch' && request.kind.kind == 'Job'
? (oldObject.?metadata.?labels[?'carbonbudget.dev/suspended'].orValue('') == 'true'
   ? {{ include "carbonbudget.atOnce" (dict "object" "object") | nindent 5 | trim }} > {{ include "carbonbudget.atOnce" (dict "object" "oldObject") | nindent 5 | trim }}
   : !object.?spec.?suspend.orValue(false) && (oldObject.?spec.?suspend.orValue(false) ||
     {{ include "carbonbudget.atOnce" (dict "object" "object") | nindent 5 | trim }} > {{ include "carbonbudget.atOnce" (dict "object" "oldObject") | nindent 5 | trim }}))
: request.kind.group == 'apps' && request.kind.kind == 'DaemonSet'
? (oldObject.?spec.?template.?spec.?nodeSelector.orValue({}).exists(k,
     object.?spec.?template.?spec.?nodeSelector[?k].orValue('') != oldObject.spec.template.spec.nodeSelector[k]) ||
   object.?spec.?template.?spec.?tolerations.orValue([]).exists(t,
     !(t in oldObject.?spec.?template.?spec.?tolerations.orValue([]))) ||
   ({{ include "carbonbudget.nodeAffinity" (dict "object" "oldObject") }}.hasValue() &&
    {{ include "carbonbudget.nodeAffinity" (dict "object" "object") }} !=
    {{ include "carbonbudget.nodeAffinity" (dict "object" "oldObject") }}))
{{- range .Values.enforcement.kinds }}
: request.kind.group == {{ .group | squote }} && request.kind.kind == {{ .kind | squote }}
? {{ if .replicas }}object.?{{ .replicas | replace "." ".?" }}.orValue(1) > oldObject.?{{ .replicas | replace "." ".?" }}.orValue(1){{ else }}false{{ end }}
{{- end }}
: oldObject.?spec.?replicas.orValue(1) > 0 && (object.?spec.?replicas.orValue(1) > oldObject.?spec.?replicas.orValue(1) ||
  (request.kind.group == '' && request.kind.kind == 'ReplicationController' &&
   object.?spec.?selector.orValue({}) != oldObject.?spec.?selector.orValue({})) ||
  (request.kind.group == 'apps' && request.kind.kind == 'StatefulSet' &&
   object.?spec.?ordinals.?start.orValue(0) != oldObject.?spec.?ordinals.?start.orValue(0)) ||
  (request.kind.group == 'apps' && request.kind.kind == 'Deployment' &&
   object.?spec.?strategy.?type.orValue('') != 'Recreate' &&
   oldObject.?spec.?template.?spec.?terminationGracePeriodSeconds.orValue(30) > 600 &&
   object.?spec.?template != oldObject.?spec.?template))
{{- end }}

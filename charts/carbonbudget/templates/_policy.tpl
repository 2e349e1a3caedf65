{{/*
CEL that the policies share. `object.?a.?b` is an optional field: no error where a is missing, and with
failurePolicy Ignore an error would admit without a word.
*/}}

{{/* Whether the controller of `object` is of a kind whose template is guarded where a label is written into it. */}}
{{- define "carbonbudget.ownedByGuarded" -}}
object.metadata.?ownerReferences.orValue([]).exists(o, o.?controller.orValue(false) && (
{{- range .Values.enforcement.kinds }}
  (o.kind == {{ .kind | squote }} && o.apiVersion.startsWith('{{ .group }}/')) ||
{{- end }}
  (o.apiVersion in ['apps/v1', 'v1', 'batch/v1'] && o.kind in
    ['Job', 'CronJob', 'Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'ReplicationController'])))
{{- end }}

{{/* Namespaces that are never judged, for policies and webhook; the controller has the same list in its settings. */}}
{{- define "carbonbudget.enforcedNamespaces" -}}
matchExpressions:
  - {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ include "carbonbudget.exemptNamespaces" . }}}
  - {key: carbonbudget.dev/enforcement, operator: NotIn, values: ["off"]}
{{- end }}

{{/* Judged kinds that have a pod template, by `operations`, without Jobs. */}}
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

{{/* All that may be judged, by `operations`. */}}
{{- define "carbonbudget.enforcedResources" -}}
- {apiGroups: [batch], apiVersions: [v1], operations: {{ toJson .operations }}, resources: [jobs], scope: Namespaced}
- {apiGroups: [""], apiVersions: [v1], operations: {{ toJson .operations }}, resources: [pods], scope: Namespaced}
{{ include "carbonbudget.templatedResources" . }}
{{- end }}

{{/* CronJobs are not judged, their Jobs are; but they pass labels on. */}}
{{- define "carbonbudget.cronjobs" -}}
- {apiGroups: [batch], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [cronjobs], scope: Namespaced}
{{- end }}

{{/* Whether `.object` (CEL) has a controller. */}}
{{- define "carbonbudget.controlled" -}}
{{ .object }}.?metadata.?ownerReferences.orValue([]).exists(o, o.?controller.orValue(false))
{{- end }}

{{/* Kubernetes' own controllers. The garbage collector orphans pods, which is no new work. */}}
{{- define "carbonbudget.kubernetesControllers" -}}
(request.userInfo.username.matches('^system:serviceaccount:kube-system:([a-z-]+-controller|generic-garbage-collector)$') ||
 request.userInfo.username == 'system:kube-controller-manager')
{{- end }}

{{/*
What a controller makes or changes counts as its owner's, which was judged, or deliberately not: pods and ReplicaSets, if
the account is a controller of kube-system or one that enforcement.controllerAccounts names. ownerReferences alone can be
forged. A Job that a CronJob makes is judged itself. The old object counts too: a controller may let a pod go.
*/}}
{{- define "carbonbudget.madeByController" -}}
(request.userInfo.username in {{ toJson .Values.enforcement.controllerAccounts }} ||
 (request.resource.resource in ['pods', 'replicasets'] && {{ include "carbonbudget.kubernetesControllers" . | nindent 2 | trim }})) &&
({{ include "carbonbudget.controlled" (dict "object" "object") }} ||
 {{ include "carbonbudget.controlled" (dict "object" "oldObject") }})
{{- end }}

{{/* Whether an account outside kube-system makes it under a controller's ownerReference: a controller's, or a forger's. */}}
{{- define "carbonbudget.madeByAnotherAccount" -}}
(request.userInfo.username.startsWith('system:serviceaccount:') &&
 !request.userInfo.username.startsWith('system:serviceaccount:kube-system:') &&
 {{ include "carbonbudget.controlled" (dict "object" "object") }})
{{- end }}

{{/* Whether the requester may exempt workloads of the namespace. */}}
{{- define "carbonbudget.mayExempt" -}}
authorizer.group('carbonbudget.dev').resource('carbonbudgets').namespace(request.namespace).check('exempt').allowed()
{{- end }}

{{/* A Job of a CronJob is labelled by its template, whose label was guarded when the CronJob was written. */}}
{{- define "carbonbudget.madeByCronJob" -}}
request.userInfo.username in ['system:serviceaccount:kube-system:cronjob-controller', 'system:kube-controller-manager']
{{- end }}

{{- define "carbonbudget.exceptions" -}}
- name: not-made-by-a-controller
  expression: >-
    !({{ include "carbonbudget.madeByController" . | nindent 4 | trim }})
# A kubelet's image of a static pod: refusing the image does not stop the pod.
- name: not-a-mirror-pod
  expression: >-
    request.resource.resource != 'pods' || !request.userInfo.username.startsWith('system:node:') ||
    !('kubernetes.io/config.mirror' in object.?metadata.?annotations.orValue({}))
# Who sets the label needs the verb; who changes what has it does not. A pod may have it from a Job's template, where
# nobody asked for the verb: there who changes the pod needs it too. A deletion has the old object alone.
- name: not-exempt
  expression: >-
    (object == null ? oldObject : object).?metadata.?labels[?'carbonbudget.dev/exempt'].orValue('') != 'true' ||
    !((request.resource.resource != 'pods' &&
       oldObject.?metadata.?labels[?'carbonbudget.dev/exempt'].orValue('') == 'true') ||
      {{ include "carbonbudget.madeByCronJob" . }} ||
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

{{/* The labels that count are those that the pods will have; of `.object` (CEL), object or oldObject. */}}
{{- define "carbonbudget.podLabels" -}}
{{- $object := .object -}}
request.resource.resource == 'pods' ? {{ $object }}.metadata.?labels.orValue({}) :
{{- range .root.Values.enforcement.kinds }}
request.kind.group == {{ .group | squote }} && request.kind.kind == {{ .kind | squote }} ?
  {{ $object }}.?{{ .template | replace "." ".?" }}.?metadata.?labels.orValue({}) :
{{- end }}
{{ $object }}.?spec.?template.?metadata.?labels.orValue({})
{{- end }}

{{/* The policy over one kind of budget, without its name: variables and the one validation. */}}
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
  # New work, or work whose pods' labels bring it into the budget.
  - name: enters
    expression: >-
      request.kind.kind in variables.kinds && variables.selected &&
      (request.operation == 'CREATE' || !variables.selectedBefore)
  # Controllers of the old object that replace it once it is gone: those of the budget's kinds, and of their ReplicaSets.
  # A StatefulSet's pod keeps its name, and no second one can be made.
  - name: replacers
    expression: >-
      oldObject == null ? [] : oldObject.metadata.?ownerReferences.orValue([]).filter(o, o.?controller.orValue(false) &&
        (o.kind in variables.kinds || (o.kind == 'ReplicaSet' && 'Deployment' in variables.kinds)) && (
        {{- range .root.Values.enforcement.kinds }}
        (o.kind == {{ .kind | squote }} && o.apiVersion.startsWith('{{ .group }}/')) ||
        {{- end }}
        (o.apiVersion in ['apps/v1', 'v1', 'batch/v1'] &&
         o.kind in ['Deployment', 'ReplicaSet', 'ReplicationController', 'DaemonSet', 'Job'])))
  # A pod or ReplicaSet that leaves its controller runs on, and the controller makes another. Which labels the controller
  # selects by is not in the object, so that all of them count.
  - name: leavesController
    expression: >-
      request.operation == 'UPDATE' && variables.replacers.exists(o,
        object.metadata.?labels.orValue({}) != oldObject.metadata.?labels.orValue({}) ||
        !object.metadata.?ownerReferences.orValue([]).exists(n, n.?controller.orValue(false) && n.uid == o.uid)) &&
      !({{ include "carbonbudget.ourAccounts" .root | nindent 6 | trim }}) && variables.selectedBefore
  # People and their tools, and no part of Kubernetes: its garbage collection, preemption and evictions go on.
  - name: byATenant
    expression: >-
      request.userInfo.username.startsWith('system:serviceaccount:') ?
      !request.userInfo.username.startsWith('system:serviceaccount:kube-system:') :
      !request.userInfo.username.startsWith('system:')
  # The same without a controller that sees it: a ReplicaSet that goes and leaves its pods to run.
  - name: orphansItsPods
    expression: >-
      request.operation == 'DELETE' && request.resource.resource != 'pods' && size(variables.replacers) > 0 &&
      (has(request.options.propagationPolicy) ? request.options.propagationPolicy == 'Orphan' :
       has(request.options.orphanDependents) ? request.options.orphanDependents :
       'orphan' in oldObject.metadata.?finalizers.orValue([])) && variables.byATenant && variables.selectedBefore
  # The same in time: what is being deleted runs on until it ends by itself, and its replacement runs already. 600 s is
  # what the cluster autoscaler grants at most. Of an eviction only who may evict in all namespaces leaves it open.
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
  # On CREATE the API server has just set creationTimestamp: it is now, and nobody can forge it. On UPDATE there is no
  # clock, and only an object that was made after `until` shows that it has passed. A run's own budget (per: Workload)
  # never stands in another's way.
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
      (variables.leavesController ? ' (meanwhile labels and controller of ' +
        (request.resource.resource == 'pods' ? 'a pod that its ' : 'what its ') +
        'controller would replace stay as they are)' : '') +
      (variables.orphansItsPods ? ' (its controller would make another: delete it without --cascade=orphan)' : '') +
      (request.?subResource.orValue('') == 'eviction' ? ' (evict with deleteOptions.gracePeriodSeconds of 600 or less)' :
       request.operation == 'DELETE' && request.resource.resource == 'pods' ?
       ' (its controller makes another at once: delete it with --grace-period=600 or less)' : '') +
      (request.operation == 'CREATE' && {{ include "carbonbudget.madeByAnotherAccount" . | nindent 7 | trim }} ?
        ' (if ' + request.userInfo.username + ' is a controller, name it in enforcement.controllerAccounts)' : '') +
      '; see: kubectl {{ if not .namespaces }}-n ' + string(params.metadata.namespace) + ' {{ end }}describe {{ .kind }} ' +
      string(params.metadata.name)
{{- end }}

{{/*
Whether the label `.label` becomes "true" at one of the places where it is passed on to objects that controllers make: the
object itself, its pod template, a CronJob's template for Jobs and that one's pod template, a configured kind's template.
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

{{/* The accounts that suspend and resume, in CEL. */}}
{{- define "carbonbudget.ourAccounts" -}}
request.userInfo.username in ['system:serviceaccount:{{ .Release.Namespace }}:carbonbudget-controller',
  'system:serviceaccount:{{ .Release.Namespace }}:carbonbudget-release']
{{- end }}

{{/* What all webhooks have in common. Nothing may wait or fail for them. */}}
{{- define "carbonbudget.webhook" -}}
clientConfig:
  service: {name: carbonbudget-admission, namespace: {{ .Release.Namespace }}, path: /validate, port: 443}
failurePolicy: Ignore
timeoutSeconds: {{ int .Values.admission.timeoutSeconds }}
sideEffects: NoneOnDryRun # Events of refusals and warnings
admissionReviewVersions: [v1]
namespaceSelector: {{- include "carbonbudget.enforcedNamespaces" . | nindent 2 }}
{{- end }}

{{/* How many pods of the Job `.object` (CEL) run at a time. An Indexed Job may get more completions. */}}
{{- define "carbonbudget.atOnce" -}}
[{{ .object }}.?spec.?parallelism.orValue(1),
 {{ .object }}.?spec.?completions.orValue({{ .object }}.?spec.?parallelism.orValue(1))].min()
{{- end }}

{{/* A required node affinity of the pod template of `.object` (CEL). */}}
{{- define "carbonbudget.nodeAffinity" -}}
{{ .object }}.?spec.?template.?spec.?affinity.?nodeAffinity.?requiredDuringSchedulingIgnoredDuringExecution
{{- end }}

{{/*
Growth, in CEL: a pod that loses its last scheduling gate; a Job that starts or runs more pods at a time (one that we
suspended may start, as it was: that is reported as a conflict of the budget, and not fought); a DaemonSet that may run on
more nodes; more replicas (also a Scale's); a ReplicationController that selects other pods; a StatefulSet that names its
pods anew, since one that left it runs on under the old name; a rollout whose former pods may take more than 600 s to end.
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

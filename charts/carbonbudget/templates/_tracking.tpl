{{/*
What tracking.injector gives pods with a run label, in CEL. operator/carbonbudget_operator/admission/tracking_patch.py has
the same rules for the webhook and says why they are as they are. tests/apiserver/test_tracked_pods.py compares both.
*/}}

{{/* The value of tracking.injector. YAML reads an unquoted `off` as false. */}}
{{- define "carbonbudget.injector" -}}
{{ .Values.tracking.injector | default "off" }}
{{- end }}

{{/* The version of MutatingAdmissionPolicy that the API server serves. `helm template` knows only what --api-versions names. */}}
{{- define "carbonbudget.mutatingPolicyVersion" -}}
{{- $group := "admissionregistration.k8s.io" -}}
{{- if .Capabilities.APIVersions.Has (printf "%s/v1/MutatingAdmissionPolicy" $group) -}}
{{ $group }}/v1
{{- else if .Capabilities.APIVersions.Has (printf "%s/v1beta1/MutatingAdmissionPolicy" $group) -}}
{{ $group }}/v1beta1
{{- else -}}
{{- fail "tracking.injector: this API server does not serve MutatingAdmissionPolicy (Kubernetes 1.36, or 1.34 with its feature gate), so use tracking.injector=webhook instead of policy" -}}
{{- end -}}
{{- end }}

{{/* The namespaces in which pods are tracked. carbonbudget's own and kube-system are never among them. */}}
{{- define "carbonbudget.trackedNamespaces" -}}
{{- $selector := deepCopy (.Values.tracking.namespaceSelector | default (dict "matchLabels" (dict "carbonbudget.dev/track" "enabled"))) -}}
{{- $own := dict "key" "kubernetes.io/metadata.name" "operator" "NotIn" "values" (list "kube-system" .Release.Namespace .Values.agent.namespace | uniq) -}}
{{- toYaml (set $selector "matchExpressions" (append ($selector.matchExpressions | default list) $own)) -}}
{{- end }}

{{/* Pods with a run label that is not empty. No other pod reaches the policy or the webhook. */}}
{{- define "carbonbudget.trackedPods" -}}
matchExpressions:
  - {key: carbonbudget.dev/run, operator: Exists}
  - {key: carbonbudget.dev/run, operator: NotIn, values: [""]}
{{- end }}

{{/* The paths of a container's mounts, each with one slash at its end. */}}
{{- define "carbonbudget.mountPaths" -}}
c.?volumeMounts.orValue([]).map(m, (m.mountPath + '/').replace('//', '/'))
{{- end }}

{{/* JSON patches that append an item to a list of each container in .list, where .if (over the container c) is true. */}}
{{- define "carbonbudget.appendEach" -}}
object.spec.?{{ .list }}.orValue([]).transformList(i, c, {{ .if }},
  JSONPatch{op: 'add', path: '/spec/{{ .list }}/' + string(i) + '/{{ .path }}', value: {{ .value }}})
{{- end }}

{{/* The whole patch. Each list is made first where a container has none. */}}
{{- define "carbonbudget.trackingPatch" -}}
{{- $getsToken := "c.name in variables.tokenContainers" -}}
(size(variables.tokenContainers) == 0 ? [] :
  (size(object.spec.?volumes.orValue([])) > 0 ? [] : [JSONPatch{op: 'add', path: '/spec/volumes', value: []}]) +
  [JSONPatch{op: 'add', path: '/spec/volumes/-', value: {
    'name': dyn('carbonbudget-token'),
    'projected': dyn({'sources': [{'serviceAccountToken': {
      'audience': dyn('carbonbudget-server'), 'expirationSeconds': dyn(3600), 'path': dyn('token')}}]})}}])
{{- range $list := list "containers" "initContainers" }} +
{{ include "carbonbudget.appendEach" (dict "list" $list "path" "env" "value" "[]" "if" "size(c.?env.orValue([])) == 0") }} +
{{ include "carbonbudget.appendEach" (dict "list" $list "path" "volumeMounts" "value" "[]" "if"
  (printf "size(c.?volumeMounts.orValue([])) == 0 && %s" $getsToken)) }} +
{{ include "carbonbudget.appendEach" (dict "list" $list "path" "volumeMounts/-" "if" $getsToken "value"
  "{'name': dyn('carbonbudget-token'), 'mountPath': dyn('/var/run/secrets/carbonbudget.dev'), 'readOnly': dyn(true)}") }}
{{- range $variable := list
  (dict "name" "CARBONBUDGET_SERVER_URL" "value" (include "carbonbudget.serverURL" $ | squote) "if" "")
  (dict "name" "CARBONBUDGET_TOKEN_FILE" "value" "'/var/run/secrets/carbonbudget.dev/token'" "if" (printf " && %s" $getsToken))
  (dict "name" "CARBONBUDGET_CA" "value" "variables.ca" "if"
    " && variables.ca != '' && !c.?env.orValue([]).exists(e, e.name == 'CARBONBUDGET_CA_FILE')")
  (dict "name" "CARBONBUDGET_RUN" "value" "variables.run" "if" "")
  (dict "name" "CARBONBUDGET_MODEL" "value" "variables.model" "if"
    " && variables.model != ''")
  (dict "name" "CARBONBUDGET_MODEL_VERSION" "value" "variables.modelVersion" "if"
    " && variables.modelVersion != ''") }} +
{{ include "carbonbudget.appendEach" (dict "list" $list "path" "env/-"
  "if" (printf "!c.?env.orValue([]).exists(e, e.name == '%s')%s" $variable.name $variable.if)
  "value" (printf "{'name': '%s', 'value': %s}" $variable.name $variable.value)) }}
{{- end }}
{{- end }}
{{- end }}

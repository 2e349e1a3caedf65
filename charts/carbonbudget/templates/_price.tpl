{{/* Checks that a price has a currency: without one the server would not start. A value may be a list of dated values. */}}
{{- define "carbonbudget.checkPrice" -}}
{{- if not .Values.carbon.currency -}}
{{- range $key := list "price" "tariff" -}}
{{- $given := get $.Values.carbon $key -}}
{{- range (kindIs "slice" $given | ternary $given (list $given)) -}}
{{- $value := kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "value") . -}}
{{- if and (not (kindIs "invalid" $value)) (ne (toString $value) "") -}}
{{- fail (printf "carbon.%s needs carbon.currency, for example EUR" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

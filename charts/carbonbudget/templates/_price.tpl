{{/* Checks that a price has a currency and at most six decimals: else the server would not start. A value may be a list of dated values. */}}
{{- define "carbonbudget.checkPrice" -}}
{{- range $key := list "price" "tariff" -}}
{{- $given := get $.Values.carbon $key -}}
{{- range (kindIs "slice" $given | ternary $given (list $given)) -}}
{{- $value := kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "value") . -}}
{{- if and (not (kindIs "invalid" $value)) (ne (toString $value) "") -}}
{{- if not $.Values.carbon.currency -}}
{{- fail (printf "carbon.%s needs carbon.currency, for example EUR" $key) -}}
{{- end -}}
{{- if regexMatch "[.][0-9]{7}|e-" (toString $value) -}}
{{- fail (printf "carbon.%s: %v has more than 6 decimals" $key $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Checks the grid zones. A typing error stops the installation, and not the server's pod later. A value may be a list of dated values. */}}
{{- define "carbonbudget.checkZones" -}}
{{- $known := .Files.Get "files/zones.yaml" | fromYaml -}}
{{- range (kindIs "slice" .Values.carbon.zone | ternary .Values.carbon.zone (list .Values.carbon.zone)) -}}
{{- $zone := kindIs "map" . | ternary (dig "value" "" (kindIs "map" . | ternary . dict)) . -}}
{{- if kindIs "string" $zone -}}
{{- include "carbonbudget.checkZone" (dict "known" $known "key" "carbon.zone" "zone" $zone) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "contracts" "residual_mixes" -}}
{{- range (get $.Values.carbon.market $key | default list) -}}
{{- include "carbonbudget.checkZone" (dict "known" $known "key" (printf "carbon.market.%s" $key) "zone" (kindIs "map" . | ternary (dig "zone" "" (kindIs "map" . | ternary . dict)) "")) -}}
{{- end -}}
{{- end -}}
{{- range (get .Values.carbon.intensity "sources" | default list) -}}
{{- if kindIs "map" . -}}
{{- $source := . -}}
{{- range $key := list "zones" "figures" "other_figures" -}}
{{- $zones := get $source $key -}}
{{- if kindIs "map" $zones -}}
{{- range $zone, $_ := $zones -}}
{{- include "carbonbudget.checkZone" (dict "known" $known "key" (printf "carbon.intensity.sources %s" $key) "zone" $zone) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "carbonbudget.checkZone" -}}
{{- if and .zone (not (hasKey .known (upper .zone))) -}}
{{- fail (printf "%s: %q is no grid zone: files/zones.yaml of this chart lists them, for example DE" .key .zone) -}}
{{- end -}}
{{- end }}

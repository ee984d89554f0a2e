{{/* Labels by which the operator's pods are found. */}}
{{- define "tenantry.selector" -}}
app.kubernetes.io/name: tenantry
app.kubernetes.io/component: operator
{{- end }}

{{/* Labels of all that the chart makes. */}}
{{- define "tenantry.labels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "tenantry.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/*
The objects of a file, which is a copy of one in config/, with the namespace and the ServiceAccount of this release. Takes root and path.
*/}}
{{- define "tenantry.adapted" -}}
{{- $root := .root }}
{{- $account := $root.Values.serviceAccount.name }}
{{- $user := printf "system:serviceaccount:%s:%s" $root.Release.Namespace $account }}
{{- $text := $root.Files.Get .path | replace "system:serviceaccount:tenantry-system:tenantry-operator" $user }}
{{- range $document := splitList "\n---\n" $text }}
{{- $object := fromYaml $document }}
{{- if $object.Error }}{{ fail (printf "%s: %s" $.path $object.Error) }}{{ end }}
{{- $labels := merge ($object.metadata.labels | default dict) (include "tenantry.labels" $root | fromYaml) }}
{{- if not $root.Values.roles.aggregate }}
{{- $labels = omit $labels "rbac.authorization.k8s.io/aggregate-to-view" "rbac.authorization.k8s.io/aggregate-to-admin" }}
{{- end }}
{{- $_ := set $object.metadata "labels" $labels }}
{{- if $object.metadata.namespace }}
{{- $_ := set $object.metadata "namespace" $root.Release.Namespace }}
{{- end }}
{{- if eq $object.kind "ServiceAccount" }}
{{- $_ := set $object.metadata "name" $account }}
{{- with $root.Values.serviceAccount.annotations }}
{{- $_ := set $object.metadata "annotations" . }}
{{- end }}
{{- end }}
{{- range $subject := $object.subjects }}
{{- $_ := set $subject "namespace" $root.Release.Namespace }}
{{- $_ := set $subject "name" $account }}
{{- end }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}

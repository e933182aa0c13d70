{{- define "matteworks.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains "matteworks" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-matteworks" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "matteworks.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" -}}
{{- end -}}

{{/* Labels by which pods are found: (list ROOT COMPONENT). They never change. */}}
{{- define "matteworks.selector" -}}
app.kubernetes.io/name: matteworks
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object: (list ROOT COMPONENT). */}}
{{- define "matteworks.labels" -}}
{{ include "matteworks.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ include "matteworks.chart" (index . 0) }}
{{- end -}}

{{/* The DNS name of one of our services: (list ROOT NAME). */}}
{{- define "matteworks.host" -}}
{{- $root := index . 0 -}}
{{ include "matteworks.fullname" $root }}-{{ index . 1 }}.{{ $root.Release.Namespace }}.svc.{{ $root.Values.clusterDomain }}
{{- end -}}

{{/* An image of ours: (list ROOT NAME). A digest wins over the tag. */}}
{{- define "matteworks.image" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $path := printf "%s%s%s" (ternary (printf "%s/" $root.Values.image.registry) "" (ne $root.Values.image.registry "")) $root.Values.image.prefix $name -}}
{{- with index $root.Values.image.digests $name -}}
{{ $path }}@{{ . }}
{{- else -}}
{{ $path }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "matteworks.serviceAccountName" -}}
{{ .Values.serviceAccount.name | default (include "matteworks.fullname" .) }}
{{- end -}}

{{/*
Every workload made of a row of the topology, as a JSON list of {name, row, values}: one for each service,
and one for each inference deployment.
*/}}
{{- define "matteworks.workloads" -}}
{{- $root := . -}}
{{- $made := list -}}
{{- range (.Files.Get "files/topology.json" | fromJson).services -}}
{{- $row := . -}}
{{- if $row.runsNetworks -}}
{{- range $name, $own := $root.Values.inference.deployments -}}
{{- if kindIs "map" $own -}}
{{- $values := mergeOverwrite (deepCopy $root.Values.workloads) (deepCopy $root.Values.inference.defaults) (deepCopy $own) -}}
{{- $made = append $made (dict "name" (printf "%s-%s" $row.name $name) "row" $row "values" $values) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- $values := mergeOverwrite (deepCopy $root.Values.workloads) (deepCopy (index $root.Values.services $row.name)) -}}
{{- $made = append $made (dict "name" $row.name "row" $row "values" $values) -}}
{{- end -}}
{{- end -}}
{{- $made | toJson -}}
{{- end -}}

{{/* How many pods a workload has at most: (list ROOT WORKLOAD). */}}
{{- define "matteworks.mostReplicas" -}}
{{- $values := (index . 1).values -}}
{{- if eq (index . 0).Values.autoscaling.kind "none" -}}
{{ max 1 (int $values.replicas) }}
{{- else -}}
{{ max 1 (int $values.replicas) (int $values.autoscaling.maxReplicas) }}
{{- end -}}
{{- end -}}

{{/* Labels by which the pods of one workload are found: (list ROOT WORKLOAD). */}}
{{- define "matteworks.workloadSelector" -}}
{{ include "matteworks.selector" (list (index . 0) (index . 1).row.name) }}
matteworks/workload: {{ (index . 1).name }}
{{- end -}}

{{/* The name of the Secret with the certificate of a component: (list ROOT NAME). */}}
{{- define "matteworks.tlsSecret" -}}
{{- $root := index . 0 -}}
{{- $root.Values.internalTls.existingSecret | default (printf "%s-%s-tls" (include "matteworks.fullname" $root) (index . 1)) -}}
{{- end -}}

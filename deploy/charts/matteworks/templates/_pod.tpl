{{/* What every pod of ours has: (list ROOT). */}}
{{- define "matteworks.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "matteworks.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Where pods go: (list ROOT SELECTOR VALUES). */}}
{{- define "matteworks.placement" -}}
{{- $root := index . 0 -}}
{{- $values := index . 2 -}}
topologySpreadConstraints:
{{- range $root.Values.topologySpread }}
  - maxSkew: {{ .maxSkew }}
    topologyKey: {{ .topologyKey }}
    whenUnsatisfiable: {{ .whenUnsatisfiable }}
    labelSelector:
      matchLabels: {{- index $ 1 | nindent 8 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* A variable from the Secret of the deployment: (list ROOT VARIABLE KEY). */}}
{{- define "matteworks.secretVariable" -}}
- name: {{ index . 1 }}
  valueFrom:
    secretKeyRef:
      name: {{ (index . 0).Values.secrets.existingSecret }}
      key: {{ index . 2 }}
{{- end -}}

{{/* The variables that a workload gets as text, as JSON: (list ROOT WORKLOAD). What the user sets wins. */}}
{{- define "matteworks.settings" -}}
{{- $root := index . 0 -}}
{{- $row := (index . 1).row -}}
{{- $values := (index . 1).values -}}
{{- $settings := dict
      "DRAIN_DELAY_S" (toString $root.Values.termination.drainDelaySeconds)
      "GRACE_S" (toString $root.Values.termination.graceSeconds)
      "LOG_LEVEL" $root.Values.logLevel -}}
{{- with $root.Values.telemetry.otlpEndpoint -}}
{{- $_ := set $settings "OTLP_ENDPOINT" . -}}
{{- end -}}
{{- range $row.targets -}}
{{- $_ := set $settings . (printf "%s:8081" (include "matteworks.host" (list $root "envoy-internal"))) -}}
{{- end -}}
{{- if and $row.knowsPublicUrl $root.Values.publicUrl -}}
{{- $_ := set $settings "PUBLIC_URL" $root.Values.publicUrl -}}
{{- end -}}
{{- if and $row.keepsResults $root.Values.objectStore.url -}}
{{- $_ := set $settings "OBJECT_STORE_URL" $root.Values.objectStore.url -}}
{{- end -}}
{{- if $row.runsNetworks -}}
{{- $_ := set $settings "DEVICE" $values.device -}}
{{- $_ := set $settings "MODELS" (join "," $values.models) -}}
{{- end -}}
{{- if $row.asksInstances -}}
{{- $instances := list -}}
{{- range ($root.Files.Get "files/topology.json" | fromJson).services -}}
{{- $instances = append $instances (.instance | replace "@HOST@" (include "matteworks.host" (list $root .name))) -}}
{{- end -}}
{{- $_ := set $settings "INSTANCES" (join "," $instances) -}}
{{- end -}}
{{- with $row.store -}}
{{- $store := $root.Values.valkey -}}
{{- $login := ternary (printf "%s:$(VALKEY_PASSWORD)@" $store.external.username) "" $store.external.usesPassword -}}
{{- $url := printf "%s://%s%s:%d/%d" (ternary "rediss" "redis" $store.external.tls) $login $store.external.host (int $store.external.port) (int .database) -}}
{{- if $store.builtIn -}}
{{- $url = printf "redis://:$(VALKEY_PASSWORD)@%s:6379/%d" (include "matteworks.host" (list $root "valkey")) (int .database) -}}
{{- end -}}
{{- $_ := set $settings .setting $url -}}
{{- end -}}
{{- if $root.Values.internalTls.enabled -}}
{{- $_ := set $settings "TLS_DIRECTORY" ($root.Files.Get "files/topology.json" | fromJson).tlsDirectory -}}
{{- end -}}
{{- mergeOverwrite $settings (deepCopy $values.settings) | toJson -}}
{{- end -}}

{{/* The environment of a workload: (list ROOT WORKLOAD). */}}
{{- define "matteworks.environment" -}}
{{- $root := index . 0 -}}
{{- $row := (index . 1).row -}}
{{- $values := (index . 1).values -}}
{{- $settings := include "matteworks.settings" . | fromJson -}}
{{- /* A variable that others refer to stands before them. */ -}}
{{- if and $row.store (or $root.Values.valkey.builtIn $root.Values.valkey.external.usesPassword) }}
{{ include "matteworks.secretVariable" (list $root "VALKEY_PASSWORD" "valkey-password") }}
{{- end }}
{{- range $row.secrets }}
{{ include "matteworks.secretVariable" (list $root .variable .key) }}
{{- end }}
{{- if and $row.workersByCores (not (hasKey $settings "THREADS")) }}
- name: {{ $row.prefix }}THREADS
  valueFrom:
    resourceFieldRef:
      containerName: {{ $row.name }}
      resource: requests.cpu
      divisor: "1"
{{- end }}
{{- range $setting, $value := $settings }}
- name: {{ $row.prefix }}{{ $setting }}
  value: {{ $value | quote }}
{{- end }}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Probes of a row: (list ROOT ROW). Only readiness looks at what a service depends on. */}}
{{- define "matteworks.probes" -}}
{{- $root := index . 0 -}}
{{- $row := index . 1 -}}
{{- $tcp := dict "tcpSocket" (dict "port" "main") -}}
{{- $ready := ternary (dict "httpGet" (dict "path" "/readyz" "port" "main")) (dict "grpc" (dict "port" (int $row.port))) (eq $row.protocol "http") -}}
{{- $alive := ternary (dict "httpGet" (dict "path" "/healthz" "port" "main")) $tcp (eq $row.protocol "http") -}}
{{- if $root.Values.internalTls.enabled -}}
{{- /* A kubelet has no certificate; Envoy's own health checks have. */ -}}
{{- $ready = $tcp -}}
{{- $alive = $tcp -}}
{{- end -}}
startupProbe:
  {{- toYaml $alive | nindent 2 }}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: {{ ternary 300 60 $row.runsNetworks }}
readinessProbe:
  {{- toYaml $ready | nindent 2 }}
  periodSeconds: 3
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  {{- toYaml $alive | nindent 2 }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

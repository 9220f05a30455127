{{- define "tercet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "tercet.fullname" -}}
{{- $name := include "tercet.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "tercet.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "tercet.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* What never changes: a Deployment's selector cannot. */}}
{{- define "tercet.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tercet.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: node
{{- end }}

{{- define "tercet.labels" -}}
{{ include "tercet.commonLabels" . }}
app.kubernetes.io/component: node
{{- end }}

{{- define "tercet.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- /* What the pods of nodes and of the migration have in common. */}}
{{- define "tercet.pod" -}}
automountServiceAccountToken: false
# A Service named tercet would put TERCET_PORT into the environment: no setting, and so refused.
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "tercet.container" -}}
image: {{ include "tercet.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- with .Values.command }}
command:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
{{- end }}

{{- define "tercet.databaseEnv" -}}
- name: TERCET_DATA
  value: /var/lib/tercet/
- name: TERCET_DATABASE__URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.existingSecret | quote }}
      key: {{ .Values.database.key | quote }}
{{- end }}

{{- define "tercet.nodeEnv" -}}
{{ include "tercet.databaseEnv" . }}
- name: TERCET_HTTP__LISTEN
  value: {{ printf "%s:7007" .Values.http.address | quote }}
- name: TERCET_HTTP__TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .Values.http.existingSecret | quote }}
      key: {{ .Values.http.key | quote }}
{{- if and .Values.nats.url (not .Values.nats.keys.url) }}
- name: TERCET_NATS__URL
  value: {{ .Values.nats.url | quote }}
{{- end }}
{{- range $setting, $key := .Values.nats.keys }}
{{- if $key }}
- name: TERCET_NATS__{{ upper $setting }}
  {{- if eq $setting "credentials" }}
  value: {{ printf "/etc/tercet/nats/%s" $key | quote }}
  {{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ $.Values.nats.existingSecret | quote }}
      key: {{ $key | quote }}
  {{- end }}
{{- end }}
{{- end }}
{{- with .Values.nats.tls }}
{{- if .existingSecret }}
{{- if .ca }}
- name: TERCET_NATS__TLS_CA
  value: {{ printf "/etc/tercet/nats-tls/%s" .ca | quote }}
{{- end }}
{{- if .cert }}
- name: TERCET_NATS__TLS_CERT
  value: {{ printf "/etc/tercet/nats-tls/%s" .cert | quote }}
- name: TERCET_NATS__TLS_KEY
  value: {{ printf "/etc/tercet/nats-tls/%s" .key | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $value := .Values.settings }}
{{- if has $name (list "data" "database.url" "http.listen" "http.token" "nats.url") }}
{{- fail (printf "settings: %s is set by the values database, http and nats" $name) }}
{{- end }}
- name: TERCET_{{ $name | upper | replace "." "__" }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "tercet.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "tercet.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

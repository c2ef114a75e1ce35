{{- define "portcullis.check" -}}
{{- if and (not .Values.redis.url) (or .Values.perNode (gt (int .Values.replicas) 1)) -}}
{{- fail "redis.url: several sidecars must share a Redis, else each knows other bans" -}}
{{- end -}}
{{- end -}}

{{- define "portcullis.config" -}}
{{ default (.Files.Get "portcullis.toml") .Values.config }}
{{- end -}}

{{- define "portcullis.environment" -}}
{{- if .Values.redis.url -}}
PORTCULLIS__STORE__KIND: redis
PORTCULLIS__STORE__URL: {{ .Values.redis.url | quote }}
PORTCULLIS__STORE__USERNAME: {{ .Values.redis.username | quote }}
PORTCULLIS__STORE__PASSWORD: secret:redis
PORTCULLIS__SECRET__REDIS__FROM: file
PORTCULLIS__SECRET__REDIS__NAME: /run/secrets/portcullis/redis
{{- else -}}
PORTCULLIS__STORE__KIND: embedded
{{- end -}}
{{- range $key, $value := .Values.environment }}
{{ $key }}: {{ $value | quote }}
{{- end -}}
{{- end -}}

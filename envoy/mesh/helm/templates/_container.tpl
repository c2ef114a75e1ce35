{{- define "portcullis.container" -}}
image: {{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
envFrom:
- configMapRef: {name: portcullis-env}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
- {name: config, mountPath: /etc/portcullis, readOnly: true}
- {name: secrets, mountPath: /run/secrets/portcullis, readOnly: true}
- {name: state, mountPath: /var/lib/portcullis}
{{- end -}}

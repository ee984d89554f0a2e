# shellcheck shell=bash
# Shows how the tenants come up, and in the end where they are.
# shellcheck disable=SC2016,SC2154 # $ in Go templates is theirs

patience=300
patience_if_stalled=30 # nothing will change by itself

# follow_tenants prints a line for each condition that changes, until every tenant is ready.
follow_tenants() {
  local -A seen=() ready=()
  local tenant type status reason message count stalled=0
  echo "${bold}the tenants come up${plain} ${dim}(about 30 s)${plain}"
  count=$(kubectl get --filename "$manifests/tenants.yaml" --output name | wc -l)
  while [ ${#ready[@]} -lt "$count" ]; do
    if ((SECONDS - applied_at > (stalled ? patience_if_stalled : patience))); then not_ready; fi
    stalled=0
    while IFS='|' read -r tenant type status reason message; do
      if [ "$type" = Stalled ]; then stalled=1; fi
      if [ "${seen[$tenant $type]:-}" = "$status $reason" ]; then continue; fi
      seen[$tenant $type]="$status $reason"
      message=${message:1:-1} # Go's quotes, which keep it on one line
      if [ "$type" != Ready ]; then
        show_change "$type" "$status" "$reason" "$message"
      elif [ "$status" = True ]; then
        ready[$tenant]=yes
        show_change Ready True Ready "after $((SECONDS - applied_at)) s"
      fi
    done < <(conditions ne; conditions eq)
    sleep 0.5
  done
}

# conditions ne|eq prints NAME|TYPE|STATUS|REASON|MESSAGE of conditions that speak of the manifest as it is now: all but Ready, or Ready alone.
conditions() {
  kubectl get --filename "$manifests/tenants.yaml" --output go-template='{{range .items}}{{$tenant := .}}{{range .status.conditions}}{{if and ('"$1"' .type "Ready") (eq .observedGeneration $tenant.metadata.generation)}}{{$tenant.metadata.name}}|{{.type}}|{{.status}}|{{.reason}}|{{printf "%.150q" .message}}
{{end}}{{end}}{{end}}'
}

show_change() {
  local sign=·
  case $1-$2 in
    Reconciling-*) return ;; # says what Ready says
    Stalled-*) sign=$red✗$plain ;;
    *-True) sign=$green✓$plain ;;
  esac
  printf '  %3d s  %-9s %s %-14s %s\n' "$((SECONDS - applied_at))" "$tenant" "$sign" "$1" "${dim}$4${plain}"
}

not_ready() {
  {
    echo "Not every tenant is ready after $((SECONDS - applied_at)) s:"
    kubectl get --filename "$manifests/tenants.yaml" --output custom-columns='TENANT:.metadata.name,READY:.status.conditions[0].status,WHY:.status.conditions[0].message'
    echo "The operator's log is in ${logs#"$root"/}/operator.log; what the pods say: kubectl get pods,events --namespace tenant-NAME"
  } >&2
  exit 1
}

show_tenants() {
  local tenant customer url address=${TENANTRY_INGRESS}
  echo
  while IFS='|' read -r tenant customer url; do
    echo "${bold}$customer${plain}  $url"
    echo "    $(curl_for "$url")"
  done < <(kubectl get --filename "$manifests/tenants.yaml" --output go-template='{{range .items}}{{.metadata.name}}|{{.spec.displayName}}|{{.status.url}}
{{end}}')
  if [ "$nodes" = simulated ]; then
    cat <<'TEXT'

The nodes are simulated: no program runs on them, so the local ingress answers in their place, and pods and
migrations only look as if they ran. All else is real: the API server, the operator, what it makes for each tenant, and Postgres with a
schema, an owner and a login for each.
TEXT
  fi
  cat <<TEXT

Look around:
    export KUBECONFIG=$KUBECONFIG PATH=$bin:\$PATH
    kubectl get tenants --output wide
    kubectl get all,networkpolicies,ingresses,secrets --namespace tenant-acme
    kubectl patch tenant acme --type merge --patch '{"spec": {"branding": {"primaryColor": "#7a1fa2"}}}'
Credentials of a tenant's database (password, URL, …) are in its Secret:
    kubectl get secret database --namespace tenant-acme --output go-template='{{range \$key, \$value := .data}}{{\$key}}: {{\$value | base64decode}}{{"\n"}}{{end}}'
Logs: ${logs#"$root"/}. Metrics: http://$listen/metrics. The end: make demo-down
TEXT
}

# curl_for URL: *.localhost is this machine for curl; elsewhere the ingress has to be named.
curl_for() {
  case $address in
    127.0.0.1:*) echo "curl $1/" ;;
    *) echo "curl --connect-to ::$address $1/" ;;
  esac
}

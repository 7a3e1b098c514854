# bash completion for npsteer(8). Verbs and flags are those that `npsteer --help` names, services and workers those that
# `npsteer status` knows; what is not known there is left to the user.

# The words that may stand for a service, and with one for its workers.
_npsteer_services() {
	"${COMP_WORDS[0]}" --json status 2>/dev/null | tr ',{' '\n\n' | sed -n 's/^"service":"\([A-Za-z0-9_-]*\)".*/\1/p'
}

_npsteer_workers() {
	"${COMP_WORDS[0]}" --json status "$1" 2>/dev/null | tr ',{' '\n\n' | sed -n 's/^"name":"\([^"]*\)".*/\1/p'
}

_npsteer() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} help line valued verb= words= i operands=0 service=
	COMPREPLY=()
	help=$("${COMP_WORDS[0]}" --help 2>/dev/null) || return 0
	# flags with something behind them: --port [ADDR:]PORT, -w SEC
	valued=" $(grep -oE -e '--?[a-z][a-z-]* (\[ADDR:\])?[A-Z]' <<<"$help" | cut -d' ' -f1 | tr '\n' ' ')"

	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--)
			# a program, and what is given to it
			if ((i == COMP_CWORD - 1)); then
				COMPREPLY=($(compgen -c -- "$cur"))
			else
				COMPREPLY=($(compgen -f -- "$cur"))
			fi
			return 0
			;;
		-*) [[ $valued != *" ${COMP_WORDS[i]} "* ]] || ((i++)) ;;
		*)
			if [[ -z $verb ]]; then
				verb=${COMP_WORDS[i]}
			else
				((operands++)) || service=${COMP_WORDS[i]}
			fi
			;;
		esac
	done
	line=$(sed -n "s/^  \($verb\( .*\)\{0,1\}\)\$/\1/p" <<<"$help")

	case $prev in
	--group) COMPREPLY=($(compgen -g -- "$cur")); return 0 ;;
	--bpffs | --cgroup) COMPREPLY=($(compgen -d -- "$cur")); return 0 ;;
	--rescue) COMPREPLY=($(compgen -W "stopped freeze never" -- "$cur")); return 0 ;;
	--policy) COMPREPLY=($(compgen -W "$_npsteer_policies" -- "$cur")); return 0 ;;
	-*) [[ $valued != *" $prev "* ]] || return 0 ;;
	esac

	if [[ $cur == -* ]]; then
		words=$(sed -n '/^options:/,$p' <<<"$help" | grep -oE -e ' --?[a-zA-Z][a-z-]*')
		[[ -z $verb ]] || words+=" $(grep -oE -e '[[ |]--?[a-z][a-z-]*' <<<"$line" | tr -d '[|')"
		[[ $line != *' -- '* ]] || words+=" --"
	elif [[ -z $verb ]]; then
		words=$(sed -n 's/^  \([a-z][a-z]*\).*/\1/p' <<<"$help")
	elif ((operands == 0)) && [[ $line == *SERVICE* ]]; then
		words=$(_npsteer_services)
	elif ((operands == 1)) && [[ $line == *WORKER* ]]; then
		words=$(_npsteer_workers "$service")
	elif ((operands == 1)) && [[ $verb == policy ]]; then
		words=$_npsteer_policies
	elif ((operands == 1)) && [[ $line == *'FLOW|next'* ]]; then
		words=next
	fi
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}

_npsteer_policies="hash rr cpu random p2c least p2c-exact least-exact auto maglev weighted bitmap"
complete -F _npsteer npsteer

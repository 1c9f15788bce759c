"""Which rules match a name, and which names a rule would give a target: names only, no shapes."""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tfckpt._threads import cached_property

from ..errors import Ambiguity, MappingError, Unmapped
from .patterns import GROUP, Pattern, Words, list_groups
from .rules import Constant, Ignore, Rule, RuleSet, Tied


class Use(NamedTuple):
    """A rule with the text of its groups: the names of its sources, without averages' suffix, and of its targets."""

    rule: Rule
    sources: tuple[str, ...]
    targets: tuple[str, ...]

    def describe(self) -> str:
        """Return a description for error messages."""
        return f"the rule {self.rule} (to {' + '.join(self.targets)})"


class Matches(NamedTuple):
    """Everything that matches the name of a source: rules, each with the source's position in them, and an ignore."""

    uses: tuple[tuple[Use, int], ...]
    ignore: Ignore | None

    def describe(self) -> tuple[str, ...]:
        """Return a description of each for error messages."""
        descriptions = tuple(use.describe() for use, _ in self.uses)
        if self.ignore is None:
            return descriptions
        return (*descriptions, f"the ignore {self.ignore.source} ({self.ignore.reason})")


class _Entry(NamedTuple):
    pattern: Pattern
    rule: Rule
    position: int
    scope: str


class Table:
    """A rule set with compiled patterns."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._words = rules.words
        self._inverse_words = {
            # of several words with one translation the first counts
            group: {translation: word for word, translation in reversed(words.items())}
            for group, words in ((group, dict(words)) for group, words in rules.words.items())
        }
        self._entries = [
            _Entry(Pattern(source, rules.words, scope), rule, position, scope)
            for rule in rules.rules
            for scope in _list_scopes(rule, rules)
            for position, source in enumerate(rule.sources)
        ]
        self._ignores = [
            (Pattern(ignore.source, rules.words, scope), ignore)
            for ignore in rules.ignores
            for scope in _list_scopes(ignore, rules)
        ]
        self._constants = [(Pattern(constant.target, {}), constant) for constant in rules.constants]
        self._ties = [(Pattern(tie.target, {}), tie) for tie in rules.tied]

    def lookup(self, name: str) -> Matches:
        """Return every rule that matches the name of a source, and the first ignore."""
        uses = []
        for entry in self._entries:
            groups = entry.pattern.match(name)
            if groups is not None:
                uses.append((self._use(entry.rule, entry.scope, groups), entry.position))
        ignores = (ignore for pattern, ignore in self._ignores if pattern.match(name) is not None)
        return Matches(tuple(uses), next(ignores, None))

    def find_uses(self, target: str) -> list[Use]:
        """Return the rules that would fill a target, of those whose target contains every group of the source."""
        for position in (0, 1):  # parts of a target end with a dot, unless a part of the source's name has one
            uses = []
            for patterns, entry in self._target_patterns:
                groups = patterns[position].match(target)
                if groups is not None and list_groups(entry.rule.sources[0]) <= set(groups):
                    words = {
                        group: self._inverse_words.get(group, {}).get(text, text) for group, text in groups.items()
                    }
                    uses.append(self._use(entry.rule, entry.scope, words))
            if uses:
                break
        return uses

    def find_constants(self, target: str) -> list[Constant]:
        """Return the constants that match a target."""
        return [constant for pattern, constant in self._constants if pattern.match(target) is not None]

    def find_ties(self, target: str) -> dict[str, Tied]:
        """Return the other targets that a target is tied to, each with its rule."""
        matches = ((pattern.match(target), tie) for pattern, tie in self._ties)
        return {_render(tie.to, groups, {}): tie for groups, tie in matches if groups is not None}

    def find_tied(self, target: str) -> list[str]:
        """Return the names that ties would give a target, of those that contain every group of their pattern."""
        tied = []
        for pattern, tie in self._inverse_ties:
            groups = pattern.match(target)
            if groups is not None and list_groups(tie.target) <= set(groups):
                tied.append(_render(tie.target, groups, {}))
        return tied

    def _use(self, rule: Rule, scope: str, groups: Mapping[str, str]) -> Use:
        return Use(
            rule,
            tuple(scope + _render(source, groups, {}) for source in rule.sources),
            tuple(_render(target, groups, self._words) for target in rule.targets),
        )

    @cached_property
    def _target_patterns(self) -> list[tuple[tuple[Pattern, Pattern], _Entry]]:
        """Patterns that match target names; compiled on demand, since only errors and reversal need them."""
        return [
            ((Pattern(target, self._inverse_words, stops="/."), Pattern(target, self._inverse_words)), entry)
            for entry in self._entries
            if entry.position == 0
            for target in entry.rule.targets
        ]

    @cached_property
    def _inverse_ties(self) -> list[tuple[Pattern, Tied]]:
        return [(Pattern(tie.to, {}), tie) for tie in self._rules.tied]


def translate(names: Iterable[str], rules: RuleSet) -> dict[str, str]:
    """Return name -> target for every name, one to one, without looking at shapes; the rules must not ignore a name.

    Raises `MappingError` for a name that no rule or several rules match, and for a target of several names.
    """
    table = Table(rules)
    targets: dict[str, str] = {}
    unmapped: list[Unmapped] = []
    ambiguous: list[Ambiguity] = []
    sources_by_target: dict[str, list[str]] = collections.defaultdict(list)
    for name in names:
        matches = table.lookup(name)
        if len(matches.uses) > 1:
            ambiguous.append(Ambiguity(name, matches.describe()))
        elif not matches.uses:
            unmapped.append(Unmapped(name, ()))
        else:
            targets[name] = matches.uses[0][0].targets[0]
            sources_by_target[targets[name]].append(name)
    ambiguous += [Ambiguity(target, tuple(rivals)) for target, rivals in sources_by_target.items() if len(rivals) > 1]
    if unmapped or ambiguous:
        raise MappingError(unmapped=unmapped, ambiguous=ambiguous)
    return targets


def find_ignore_reason(ignores: Iterable[Ignore], variable: str) -> str | None:
    """Return the reason of the first ignore that matches a variable, or None."""
    return next(
        (ignore.reason for ignore in ignores if _compile_ignore(ignore.source).match(variable) is not None), None
    )


@functools.lru_cache(maxsize=256)
def _compile_ignore(pattern: str) -> Pattern:
    return Pattern(pattern, {})


def is_literal(name: str) -> bool:
    """Return whether a name, used as a pattern, matches only itself: it contains no group."""
    return GROUP.search(name) is None


def _list_scopes(rule: Rule | Ignore, rules: RuleSet) -> tuple[str, ...]:
    return rules.scopes if rule.scope is None else (rule.scope,)


def _render(template: str, groups: Mapping[str, str], words: Words) -> str:
    """Return a template with each group replaced by its matched text or its translation in `words`."""
    return GROUP.sub(lambda group: words.get(group[1], {}).get(groups[group[1]], groups[group[1]]), template)

"""Prompt suites: named prompt lists that come with avbench or are pulled from a hub, and JavisBench's taxonomy."""

from avbench.prompt_suites.catalogue import Hub, PromptSuite, get_prompt_suite, list_prompt_suites
from avbench.prompt_suites.export import FORMATS, Template, as_records, render
from avbench.prompt_suites.files import find_prompts, load_prompt_suite, prompt_file, shipped_folder
from avbench.prompt_suites.pull import Pulled, pull_prompts
from avbench.prompt_suites.select import select_rows
from avbench.prompt_suites.taxonomy import Aspect, Kind, taxonomy

__all__ = [
    "FORMATS",
    "Aspect",
    "Hub",
    "Kind",
    "PromptSuite",
    "Pulled",
    "Template",
    "as_records",
    "find_prompts",
    "get_prompt_suite",
    "list_prompt_suites",
    "load_prompt_suite",
    "prompt_file",
    "pull_prompts",
    "render",
    "select_rows",
    "shipped_folder",
    "taxonomy",
]

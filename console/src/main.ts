// Starts the console. Fonts are files of ours, split by script: a browser loads only the parts a page shows.
import '@fontsource-variable/noto-sans-kr/index.css'
import '@fontsource-variable/noto-sans-sc/index.css'
import { mount } from 'svelte'
import './app/tokens.css'
import App from './app/App.svelte'

const target = document.getElementById('app')
if (!target) throw new Error('index.html has no element #app')
mount(App, { target })
